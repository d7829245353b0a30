"""What both ends of `studios exec` share: docs/exec-protocol.md in code, without any I/O.

**Start here:** `messages` — everything that is said.

- `messages`   the kinds of messages, as bytes and as values
- `framing`    messages in and out of a WebSocket's stream of bytes
- `handshake`  the way there: the upgrade, checked by both ends
"""
