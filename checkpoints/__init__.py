"""The checkpoint store: trees of files in object storage, committed in generations.

A library that knows storage, trees and generations, and neither sessions nor processes.
`docs/checkpoint-format.md` is what it reads and writes.

- `format/`  what objects look like inside (pure)
"""
