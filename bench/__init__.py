"""Measures the published numbers beside their peers; `python -m bench proxy`, `make bench`.

**Start here:** `proxy` — requests through both hops beside nginx and configurable-http-proxy.
docs/benchmarks.md says what is measured, how, and what to distrust.

Benchmarks (each renders one section of RESULTS.md):
- `proxy`        requests per second, and added latency at half load
- `transfer`     one large download and one large upload
- `websocket`    echo round trips
- `start`        a session's start and stop beside those of the tool alone
- `files`        how fast files are in a session, and on what it is made of
- `idle`         memory and CPU of an agent with which nobody does anything
- `checkpoints/` checkpoints beside restic, borg and tar
- `saving/`      what saving costs whoever works in a session, beside restic and tar

Who is measured:
- `doors`        the ways in front of one tool: none, nginx, configurable-http-proxy, ours
- `nginx`        configuration texts; pure
- `agents`       agents as engines start them, each with a session
- `specs`        what they are told to run
- `lab`          JupyterLab, also without a session
- `places`       the file systems that are compared
- `processes`    child processes: started, waited for, ended; the CPU time they use

Roles that run as processes of their own:
- `stand_in`     a control plane's side for the edge: keys, feed, one session
- `session`      the agent's side: the real gateway and tunnel, and no more
- `streams`      a tool for large bodies and WebSockets
- `place`        a file system of its own, and a program on it
- `workbench`    a tool that works with files

Who measures:
- `wrk`          drives wrk with `wrk.lua`, which checks every response
- `pace`         requests at a fixed rate, latency counted from when they were due
- `exchange`     requests, and the only response that is right; pure
- `pattern`      bodies of any length whose every byte is known; pure
- `frames`       the WebSocket frames of the echo benchmark; pure
- `ticks`        a timer that counts in nanoseconds
- `timeline`     what an agent's start took its time for, from its log; pure
- `materials`    trees to unpack and packages to install
- `disk`         a folder for volumes, and cold caches

What becomes of it:
- `spread`       medians, percentiles; pure
- `machine`      what it ran on
- `results`      sections of RESULTS.md; rendering is pure

Bench code reads the clock itself: real time is what it is about.
"""
