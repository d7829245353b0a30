"""What objects look like inside, as `docs/checkpoint-format.md` gives it. Pure: bytes and values.

**Start here:** `pack`, then `index` and `record`.

- `ids`        chunks, packs, checkpoints, generations
- `names`      the names of objects, made and parsed
- `codec`      chunks as they are stored
- `pack`       an object of many chunks, which explains itself
- `index`      where chunks are; looked up without an object for each
- `record`     what commits a generation, and what seals a checkpoint
- `collection` what a collection found without use
- `mark`       that a pack was found damaged
- `line`       JSON that says itself whether it is whole
- `parameters` the repository's own: `format.json`
- `damage`     what is raised when bytes are not what they should be
"""
