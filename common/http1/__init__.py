"""The HTTP/1.1 byte path that edge and gateway share.

**Start here:** `relay` — one exchange, from the request's first byte to the response's last.

- `head`        parse, check and write message heads; pure
- `framing`     where a body ends; pure
- `fields`      header rules: what must not be passed on; pure
- `replies`     responses made here: errors, pages, redirects; pure
- `site`        what may happen to a request, and who decides it
- `intake`      cuts requests out of a connection's stream
- `relay`       a connection that requests come in on, and their way to an upstream and back
- `upstream`    a connection that requests are sent on
- `lane`        where upstream connections come from: a pool that dials
- `join`        two connections joined after a 101
- `websocket`   reads the headers of frames that pass by; pure
- `liveness`    notices peers that vanished without a word
- `listener`    accepts connections, watches their deadlines
"""
