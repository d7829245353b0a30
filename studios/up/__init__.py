"""`studios up`: control plane and edge in one process, on one machine.

**Start here:** `system`, the course of events from ready to the last Ctrl-C.

- `command`     options on the command line
- `plan`        what the options come to: paths, addresses
- `checks`      what must be true before anything is changed
- `folder`      the data folder: made, locked, token and address written
- `rotating_log` the log, of limited size while it is written
- `programs`    what it knows of control plane and edge
- `own_programs` the real ones
- `system`      both programs, the demo, the status line, the end
- `demo`        the Studio of `--demo`
- `overview`    what the status line says (pure)
- `status_line` keeps it up to date
- `stopping`    stops every session, with progress
- `signals`     Ctrl-C and SIGTERM as events
- `welcome`     what to open, and how from another computer (pure)
"""
