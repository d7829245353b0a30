"""Can sessions run here? Asked before anything is made, answered with what would give what lacks.

**Start here:** `check`, quick before each session and thorough for `studios doctor`.

- `check`         both ways of asking, and the command line `python -m agent --check`
- `facts`         what is known of a host (data)
- `needs`         what sessions need, what for, and who gives it (pure tables)
- `judgment`      facts and needs make findings (pure)
- `rights`        what the agent itself may do (pure)
- `volumes`       which file system volumes are of, and what that costs (pure)
- `refusals`      who refuses what root may do, and what lifts it (pure)
- `surroundings`  which engine's container this is, if it is one (pure)
- `place`         what the folder for volumes lies on (pure)
- `survey`        finds facts that a look tells
- `calls`         makes the calls that a session's root takes, without effect
- `trials`        finds those that only trying tells, in processes of their own
- `trial`         such a process: makes the thing, and leaves nothing
- `report`        findings as lines for people (pure)
"""
