"""The agent: runs one Studio's session, beside the tool.

**Start here:** `daemon`, which composes the rest and reads as the run's life.

- `daemon`         one run from its start to its last report
- `config`         arguments and session spec
- `preflight/`      can sessions run here? Asked before anything is made
- `host_state`     the folder that outlives the agent; one agent at a time
- `session`        the tool on its ground: made, kept and ended together
- `ground`         what the tool stands on: files and root, made and taken away
- `session_files`  the session's files: what is restored, the volume over it, both saved
- `checkpointing/` checkpoints in the life of a run
- `standing`       what the root is to be, from spec and machine
- `supervisor/`    the tool's process: start, readiness, output, restart, end
- `volume/`        the session's own file system: an image that grows
- `root/`          the session's root: its mounts, namespaces and limits
- `inside/`        what programs in the session can ask: the command `studio`
- `gateway/`       HTTP and WebSockets from the tunnel to the tool
- `exec/`          commands that people run in the session, with `studios exec`
- `tunnel/`        connections parked at the edges
- `connection`     both of them, built
- `parts`          what the daemon needs of them
- `orphans`        processes that lost their parent
- `session_record` the note of the session's first process
- `proctable`      when a process started, by which it is told from a later one
- `earlier_files`  what a Studio had before sessions had volumes
- `incidents`      what limits did to the session, in sentences (pure)
- `resources`      what the tool's processes use
- `activity`       why the session counts as used
- `jupyter`        what a Jupyter server says about its activity
- `status`         the status report, assembled (pure)
- `reporting`      reports out, desired state in
- `control_plane`  the three calls of the control plane, over HTTP
- `desired`        what a desired state asks of this agent (pure)
- `stopping`       why a run ends, and how urgently
- `stop_sequence`  does the steps of an orderly end
- `ending`         which steps these are
- `reserved`       the pages below `/.studio/`
- `health`         can a user work here now? (pure)
- `metrics`        numbers for Prometheus
- `limits`         waits with a limit
"""
