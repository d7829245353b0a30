"""The edge: the public door. Browsers come in, agents' tunnels come in, and it joins them.

**Start here:** `edge` — composes and serves; `site` — what happens to one request, in order.

Decides (pure):
- `routing`      which host is which session
- `cookies`      the edge's own cookies: read, made, and stripped before the tool sees them
- `origin`       may this page make this request
- `rewrite`      the header fields that go on, and come back
- `parking`      how many tunnel connections to ask an agent for
- `lines`        the feed, cut into lines
- `shares`       how much of something each client address holds
- `pages`        the sentences people read when a session can't be shown

Acts:
- `site`         asks the above, in order, and answers or forwards
- `gates`        the doors for agents and the platform itself
- `platform`     the way to the control plane, which nobody may block
- `refusals`     requests that end here
- `login`        the hand-off with the control plane: redirect, code, cookie
- `grants`       verified connect tokens, remembered
- `renewals`     fresh connect tokens for old ones
- `sessions`     the edge's copy of what sessions exist, kept by the control plane's feed
- `tunnels`      parked connections by session; the lane that requests travel
- `parked`       one parked connection
- `presence`     who is connected; closes connections whose right has ended
- `control_plane` calls to the control plane
- `management`   health and metrics, on a port of their own
- `metrics`      what is counted
- `config`       settings
- `__main__`     an edge by itself, `python -m connect_proxy`
"""
