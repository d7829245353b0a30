"""The session's end of `studios exec`: docs/exec-protocol.md says every byte.

**Start here:** `execs` — who gets in; then `execution`, one command from its order to its end.

- `execs`       the commands of one session: whether another may begin, and all their ends
- `spent`       tokens that were used, until they would be refused anyway
- `execution`   one command: order, start, both directions, end
- `connection`  its client: a WebSocket on a connection that was a tunnel's
- `starting`    the program, its pipes or its terminal
- `streams`     descriptors that are read and written at the pace of others
"""
