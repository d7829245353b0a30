"""Reads generations back: whole, in part, as other formats; and says whether they can be.

**Start here:** `restore`.

Into a folder:
- `restore`     a generation, complete
- `making`      names, in the order of the tree
- `spans`       which chunks are read together (pure)
- `contents`    content of files, as it comes
- `attributes`  owners, modes, attributes, times, in the order that keeps all
- `folders`     folders below a root, opened without following anything
- `threads`     waited for, whatever happens
- `failures`    why something could not be made
"""
