"""Reads generations back: whole, in part, as other formats; and says whether they can be.

**Start here:** `restore`.

Into a folder:
- `restore`     a generation, complete
- `making`      names, in the order of the tree
- `deletions`   which of them hide something, and are made (pure)
- `spans`       which chunks are read together (pure)
- `contents`    content of files, as it comes
- `survivors`   what is left of a damaged tree
- `attributes`  owners, modes, attributes, times, in the order that keeps all
- `folders`     folders below a root, opened without following anything
- `failures`    why something could not be made

As the layer of an image:
- `layer`       a tree as an archive, with what layers know of deletions (pure)
- `tar_headers` headers of archives (pure)
- `export`      a generation into a compressed file
- `unpacking`   a layer into a folder

Whether all is well, and what is where:
- `verify`      everything stored, or a sample: damages by object, losses by path
- `verified`    what it found
- `pack_checks` whether a pack is what was written (pure)
- `known_packs` which packs are there
- `record_checks` whether a generation can be read back
- `reach`       what a generation reaches
- `stats`       what is shared, and what deleting would free
- `content`     one file, read lazily
- `selection`   which generation a person means

- `progress`    how far something is
"""
