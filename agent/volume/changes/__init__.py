"""What changed in the session's files between two snapshots, asked of btrfs itself.

**Start here:** `finder`, which has the theory.

- `finder`      from a snapshot and the point before it to the paths that changed
- `names`       from an inode's number to its paths
- `inode_items` what btrfs keeps of an inode, and of its names (pure)
- `tree_search` items of btrfs's trees, read by key
- `point`       what to remember of a snapshot, and which other one may be compared with it
- `unknown`     what can't be told, and why
"""
