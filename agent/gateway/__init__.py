"""Forwards requests that came through a tunnel to the tool, and answers `/.studio/` itself.

**Start here:** `server` — what the rest of the agent uses; `site` — what happens to one request.

- `server`      the gateway and its connections
- `site`        decides: the agent's own endpoints, the holding page, or the tool
- `connection`  a tunnel connection, seen from the agent's end
- `rewrite`     header fields on the way to the tool and back; pure
- `use`         which requests count as use; pure
- `stream`      a response whose body comes piece by piece
"""
