"""What every program shares, and nothing that only one uses.

**Start here:** `session_spec` and `messages` say what the programs tell each other.

- `ids`             identifiers as types of their own
- `session_spec`    what an engine hands an agent
- `messages`        status report and desired state, between agent and control plane
- `findings`        what a host has of what sessions need, between agent and command line
- `edge_messages`   the feed of sessions, login codes and presence, between edge and control plane
- `tokens`          signed tokens: who may sign, who may check, for what audience
- `templates`       facts of tool templates, image tags
- `wire`            JSON in and out
- `secret`          credentials that don't show in logs
- `clock`           time as an argument
- `backoff`         growing, jittered pauses between attempts
- `http1/`          the HTTP/1.1 byte path of edge and gateway
- `exec/`           what both ends of `studios exec` say
- `tasks`           background tasks with an owner
- `threads`         blocking calls off the event loop
- `loopback`        `*.localhost` resolves to this machine
- `log`             structured logs
"""
