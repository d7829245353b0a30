"""Keeps the tool running: start, readiness, output, restart, end.

**Start here:** `supervisor`.

- `supervisor`   one life of the tool after the other, until stopped or given up
- `restart`      after which pause, or not at all (pure)
- `environment`  what the tool sees of the spec: variables and arguments (pure)
- `exits`        how programs end, in words (pure)
- `readiness`    does it answer a plain HTTP request?
- `plain_http`   one small HTTP request to the tool
- `output`       what it prints: log, last lines, followers
- `tool_log`     the log file, bounded
- `lines`        the last lines of a stream of bytes (pure)
"""
