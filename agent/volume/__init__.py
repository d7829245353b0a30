"""The session's own file system: a file on the host that looks like a disk, and grows in time.

**Start here:** `volume`, the specification. `policy` decides when to grow, `monitor` does it.

- `volume`      what every volume promises, and how each of its calls may fail
- `policy`      when to grow, by how much, and how long to wait before looking again (pure)
- `monitor`     measures, asks the policy, grows, tells the status
- `loop_volume` the volume as a file system on a sparse loop file
- `attachment`  from an image to its mounted tree, whatever a killed agent has left
- `image`       the sparse file: made whole or not at all, checked before use, room on its disk
- `neighbours`  what other sessions on the same disk may still write to it
- `loopdev`     loop devices: found, made, given back
- `kinds`       btrfs, XFS and ext4: which one a new volume becomes
- `file_system` what is asked of any of them
- `btrfs_calls` a mounted btrfs: size, subvolumes, snapshots, true free space
- `plain_tree`  a mounted XFS or ext4
- `superblock`  how large the file system is that an image begins with (pure)
- `snapshots`   a read-only copy for the length of a block, and its space back
- `live_files`  the files as they are at each instant, where there are no snapshots
- `changes`     what changed between two of them
- `syscalls`    system calls that Python has not
- `memory`      the fake that passes the same tests
"""
