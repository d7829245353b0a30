"""Keeps connections parked at every edge, see docs/tunnel-protocol.md.

**Start here:** `dialer` — the tunnel to all edges.

- `dialer`     all edges: status, token renewal, the life of it all
- `link`       one edge: how many connections to keep, when to dial, heartbeats
- `handshake`  one connection from dialling to parked
"""
