"""Writes generations: from a folder to packs, an index and a record.

**Start here:** `writer`, then `capture`.

What is read:
- `volume`      the folder, which nothing leads out of
- `scan`        walked in the order of a tree's keys
- `ahead`       the tree of before, read before it is needed
- `overlaid`    what the folder shows over what was restored below it
- `difference`  what differs from the tree of before
- `compared`    found by all metadata
- `listed`      found by a list of changed paths
- `chunking`    a file's content, cut into chunks
- `originals`   of a snapshot's file, read where memory has it: in the live one
- `batch`       entries and chunks of some of what was seen
- `contents`    and of all of it, with several threads
- `memory`      what is freed meanwhile is kept for what comes next

What is written:
- `dedupe`      which chunks are stored already
- `others`      and which of them by other checkpoints
- `pack_writer` packs, and their way to the store
- `capture`     all of these together: from a folder to a tree
- `indexes`     where the chunks of a generation are, in few objects
- `reliance`    what a commit relies on is there still
- `wish`        what a write is to do, and what it can't go by for damage
- `commit`      the record
- `writer`      the generations of one checkpoint
- `sealing`     nobody writes under a checkpoint any more
"""
