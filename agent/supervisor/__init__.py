"""Keeps the tool running: start, readiness, output, restart, end.

**Start here:** `supervisor`.

- `supervisor`   one life of the tool after the other, until stopped or given up
- `restart`      after which pause, or not at all (pure)
- `environment`  what the tool sees of the spec: variables and arguments (pure)
- `process`      one process of the tool
- `family`       the tool's process and everything that came from it; how all of it ends
- `proctable`    the kernel's table of processes, parsed
- `predecessor`  what a killed agent left running
- `readiness`    does it answer a plain HTTP request?
- `plain_http`   one small HTTP request to the tool
- `output`       what it prints: log, last lines, followers
- `tool_log`     the log file, bounded
- `lines`        the last lines of a stream of bytes (pure)
"""
