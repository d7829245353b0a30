"""A run's files, saved and restored: what the agent does about checkpoints.

**Start here:** `saver`, then `captures`.

- `saver`       the calls that save and restore, and how each may fail
- `facts`       what is told about checkpoints
- `process`     `saver` in a process of its own
- `child`       that process, from its start to its end
- `said`        what it prints
- `orders`      what it is told, and answers (pure)
- `streams`     both over a pair of sockets
- `worker/`     what it does
- `layer`       what was restored, as a layer over the image
- `beginning`   what a run begins with
- `captures`    its volume, saved again and again, and a last time
- `capture`     one time
- `schedule`    when that is due (pure)
- `changes`     what changed since a volume was saved
- `top_folder`  what a new volume has of the restored `/` itself
- `image`       what a session's root is made from
- `volume_note` which run a volume is of
"""
