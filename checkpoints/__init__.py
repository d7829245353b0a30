"""The checkpoint store: trees of files in object storage, committed in generations.

A library that knows storage, trees and generations, and neither sessions nor processes.
`docs/checkpoint-format.md` is what it reads and writes.

**Start here:** `storage/storage`, on which everything stands.

- `storage/`        objects in a folder or a bucket, created only if absent
- `format/`         what objects look like inside (pure)
- `tree/`           sorted maps of entries, in nodes that consecutive trees share (pure)
"""
