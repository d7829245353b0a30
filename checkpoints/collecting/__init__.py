"""Frees what nothing needs any more, and stores better what is kept.

**Start here:** `collector`, then `doom`, which says why nothing is deleted that somebody needs.

What is known:
- `settings`      after which times what goes
- `listing`       what is stored, and what time it is there
- `survey`        all records, read until no more come
- `marking`       which chunks any generation needs
- `walk`          through the trees of one record
- `marks`         in eight bytes a chunk (pure)

By whoever writes:
- `sweeping`      a writer deletes what only its own superseded generations needed

By people:
- `deleting`      a whole checkpoint
- `busy`          which checkpoints somebody may still be writing to

What is decided (pure):
- `decision`      all of it
- `keeping`       which records go
- `doom`          which packs and indexes are announced, and which go
- `candidates`    which packs are worth rewriting

What is done:
- `collector`     a collection, step by step
- `execution`     does what was decided
- `rewriting`     what is needed of packs, to new ones
- `tables`        what packs say of themselves
- `folding`       many small `index/moved`, to one
- `removal`       deletes, and counts what is refused
- `outcome`       what a collection tells its caller

- `interruptible` a thread that asks the event loop for what it reads
"""
