"""Checkpoints beside restic, borg and `tar | zstd`.

**Start here:** `measuring`, then `mixed`.

What is done:
- `measuring` all of it, in mounts of its own
- `mixed`     1.2 GB are written, written again, read back
- `many`      200 000 files, of which 10 MB change
- `million`   a million entries
- `samples`   what was measured
- `figures`   what it comes to: tables, bars; pure

Who is measured:
- `tools`     restic, borg and tar: one way to write, to write again, to read back
- `ours`      the library, in processes of its own
- `worker`    such a process
- `messages`  what it is asked, and answers
- `gaps`      how long an event loop kept others waiting

What they work on:
- `trees`     where everything lies
- `data`      trees of files, the same each time
- `changes`   what a user does to one of them
- `facts`     what is in a tree, compared byte for byte
- `bucket`    a server of S3
- `costs`     programs run to their end: time, and CPU time
"""
