"""The person's end of `studios exec`: docs/exec-protocol.md says every byte.

**Start here:** `session` — one command, from its order to its exit code.

- `session`     joins the person's streams, terminal and signals to a command
- `connection`  the WebSocket to the session: dialled, agreed upon, kept alive
- `streams`     standard input, output and error, none of which may stop the loop
- `terminal`    the person's terminal: raw while the command has it, and given back
"""
