"""The session's own file system: a file on the host that looks like a disk, and grows in time.

**Start here:** `volume`, the specification. `policy` decides when to grow, `monitor` does it.

- `volume`      what every volume promises, and how each of its calls may fail
- `policy`      when to grow, by how much, and how long to wait before looking again (pure)
- `monitor`     measures, asks the policy, grows, tells the status
- `btrfs`       the volume as btrfs on a sparse loop file
- `attachment`  from an image to its mounted tree, whatever a killed agent has left
- `btrfs_calls` what is asked of a mounted btrfs: size, subvolumes, snapshots, true free space
- `image`       the sparse file: made whole or not at all, checked before use, room on its disk
- `neighbours`  what other sessions on the same disk may still write to it
- `loopdev`     loop devices: found, made, given back
- `snapshots`   a read-only copy for the length of a block, and its space back
- `changes`     what changed between two of them
- `syscalls`    system calls that Python has not
- `memory`      the fake that passes the same tests
"""
