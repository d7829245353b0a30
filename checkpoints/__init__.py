"""The checkpoint store: trees of files in object storage, committed in generations.

A library that knows storage, trees and generations, and neither sessions nor processes.
`docs/checkpoint-format.md` is what it reads and writes.

**Start here:** `repository`, and below it `storage/storage`, on which everything stands.

- `repository`      what a work directory holds: checkpoints, records, and the way to their chunks
- `chunk_source`    reads chunks: finds, reads together, checks
- `storage/`        objects in a folder or a bucket, created only if absent
- `format/`         what objects look like inside (pure)
- `tree/`           sorted maps of entries, in nodes that consecutive trees share (pure)
- `writing/`        from a folder to a committed generation
- `reading/`        back: into a folder, as a layer, one file; and whether all is well
- `collecting/`     what nothing needs any more goes, the rest is stored better
- `repairing/`      nothing relies on what is damaged, and what is left is found again
"""
