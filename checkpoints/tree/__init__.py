"""Trees: sorted maps from keys to entries, cut into nodes that consecutive trees share. Pure.

Nodes come from `fetch(chunk id) -> bytes` and go to `put(bytes) -> chunk id`; neither needs to be
quick, so all of this belongs into threads. A node is kept as the bytes it came as: there is an
object for an entry only while somebody looks at it.

**Start here:** `tree`, then `builder` and `update`.

- `keys`         paths as keys, and the ranges of keys that folders are
- `entry`        what a tree says about one name
- `entry_bytes`  the same as bytes
- `stamps`       what tells whether names are unchanged, without their entries
- `leaf_chunks`  which chunks files need, without their entries
- `extents`      where a file's content is
- `long_lists`   lists of extents in chunks of their own
- `node`         a piece of a tree: taken apart, looked into, put together
- `cutter`       where one node ends and the next begins
- `builder`      from sorted entries to a tree
- `cursor`       over the nodes of one level, from left to right
- `cache`        nodes read lately
- `tree`         look up, list, walk
- `changes`      what an update is told to do
- `update`       from a tree and some changes to the next tree
- `diff`         what two trees don't have in common
"""
