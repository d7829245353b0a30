"""A program for sessions: it makes files of every kind.

`python3 -m tests.support.session_tree image FOLDER` makes what a session finds in its image;
`make FOLDER` changes each of that once, in its own way, and makes files of every kind; `many FOLDER
COUNT` makes a folder with so many files. It needs nothing but Python's own library: it is run by
the session's Python, as root.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import random
import shutil
import socket
import stat
import struct
import subprocess
import sys
from pathlib import Path

KB, MB, GB = 1 << 10, 1 << 20, 1 << 30
SECOND = 1_000_000_000
CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)  # net_raw, effective
_ACL_ENTRIES = (
    (0x01, 7, 0xFFFFFFFF),
    (0x02, 5, 4242),
    (0x04, 5, 0xFFFFFFFF),
    (0x10, 5, 0xFFFFFFFF),
    (0x20, 0, 0xFFFFFFFF),
)
ACL = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in _ACL_ENTRIES)
ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
SIZES = (0, 1, 192, 193, 4096, 40_000, 256 * KB, 256 * KB + 1, 3 * MB + 5)
"""Around the lengths at which a checkpoint keeps content in another way."""
KEEP_SIZE, PUNCH_HOLE = 0x1, 0x2
_libc = ctypes.CDLL(None, use_errno=True)


# ── What an image has ────────────────────────────────────────────────────────


def image(top: Path) -> None:
    rng = random.Random(1)
    top.mkdir()
    for number in range(16):
        (top / f"file {number}").write_bytes(rng.randbytes(5000))
    (top / "linked").write_bytes(rng.randbytes(300 * KB))
    for number in range(3):
        os.link(top / "linked", top / f"linked {number}")
    for number in range(8):
        below = top / f"folder {number}/deep/deeper"
        below.mkdir(parents=True)
        for folder in (below, below.parent, below.parent.parent):
            for name in range(3):
                (folder / str(name)).write_bytes(rng.randbytes(700))
    (top / "link").symlink_to("file 0")
    special(top, rng)


# ── What a session makes of it, and makes itself ─────────────────────────────


def make(top: Path) -> None:
    rng = random.Random(2)
    change_image(top, rng)
    new = top / "new"
    new.mkdir()
    for size in SIZES:
        (new / f"random {size}").write_bytes(rng.randbytes(size))
    (new / "compressible").write_bytes(b"all the same " * 100_000)
    special(new, rng)
    times(new)
    names(new)
    holes(new)
    links(top, new)
    memory = new / "by memory"
    memory.write_bytes(bytes(2 * MB))
    write_mapped(memory, rng.randbytes(5000), at=MB - 100)
    unnamed(new, rng.randbytes(1000), new / "was unnamed")


def change_image(top: Path, rng: random.Random) -> None:
    """Change each file of the image in one way, and each folder."""
    with (top / "file 0").open("ab") as file:
        file.write(b"more")
    (top / "file 1").chmod(0o4711)
    os.chown(top / "file 2", 1234, 2**32 - 2)
    os.utime(top / "file 3", ns=(1, 123_456_789))
    os.setxattr(top / "file 4", "user.note", b"\0\xff")
    os.truncate(top / "file 5", 100)
    os.rename(top / "file 6", top / "file 6 renamed")
    (top / "file 7").unlink()
    (top / "file 8").unlink()
    (top / "file 8").mkdir()
    (top / "file 8/inside").write_bytes(b"now a folder")
    rewrite_unseen(top / "file 9", rng)
    (top / "file 10").unlink()
    (top / "file 10").symlink_to("file 11")
    os.replace(top / "file 11", top / "file 12")
    os.setxattr(top / "file 13", ACCESS, ACL)
    (top / "linked 0").write_bytes(b"of its own now")
    (top / "linked 1").unlink()
    subprocess.run(["mv", top / "folder 0", top / "folder 0 renamed"], check=True)
    shutil.rmtree(top / "folder 1")
    shutil.rmtree(top / "folder 2")
    (top / "folder 2/deep").mkdir(parents=True)
    (top / "folder 2/deep/0").write_bytes(b"in a folder made anew")
    shutil.rmtree(top / "folder 3/deep/deeper")
    (top / "folder 3/deep/1").unlink()
    shutil.rmtree(top / "folder 4")
    (top / "folder 4").write_bytes(b"now a file")
    (top / "folder 5/deep").chmod(0o3777)
    os.setxattr(top / "folder 6/deep", DEFAULT, ACL)
    for folder in ("folder 7/deep/deeper", "folder 7/deep"):
        for path in sorted((top / folder).iterdir()):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def special(top: Path, rng: random.Random) -> None:
    """Make what is no plain file, or has more than a mode."""
    os.mkfifo(top / "fifo", 0o620)
    os.mknod(top / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.chown(top / "null", 0, 5)
    with socket.socket(socket.AF_UNIX) as bound:
        os.chdir(top)  # the path of a socket may have 107 bytes
        bound.bind("socket")
    for name, mode in (("setuid", 0o4755), ("setgid", 0o2711), ("nobody may", 0)):
        path = top / name
        path.write_bytes(rng.randbytes(300))
        os.chown(path, 1000, 50)
        path.chmod(mode)
    (top / "capable").write_bytes(rng.randbytes(300))
    os.setxattr(top / "capable", "security.capability", CAPABILITY)
    (top / "acl").write_bytes(b"")
    os.setxattr(top / "acl", ACCESS, ACL)
    (top / "inherits").mkdir()
    os.setxattr(top / "inherits", DEFAULT, ACL)
    (top / "inherits/file").write_bytes(b"has an ACL, too")
    (top / "attributes").write_bytes(b"")
    for number in range(20):
        os.setxattr(top / "attributes", f"user.{number}", rng.randbytes(number * 9))
    (top / "sticky").mkdir(mode=0o777)
    (top / "sticky").chmod(0o1777)


def times(top: Path) -> None:
    for number, ns in enumerate((-5 * SECOND + 7, 0, 1, 2**31 * SECOND, 2**33 * SECOND + 999)):
        path = top / f"time {number}"
        path.write_bytes(b"")
        os.utime(path, ns=(ns, ns))
    (top / "old folder").mkdir()
    (top / "old folder/file").write_bytes(b"")
    (top / "old link").symlink_to("nowhere")
    for name in ("old folder", "old link"):
        os.utime(top / name, ns=(9, 86_400 * SECOND + 1), follow_symlinks=False)


def names(top: Path) -> None:
    base = os.fsencode(top / "names")
    os.mkdir(base)
    for name in (
        bytes(range(1, 47)) + bytes(range(48, 256)),
        b"\xff" * 255,
        b" ",
        b"-rf *",
        b"new\nline",
        b".wh.file",
        b".wh..wh..opq",
    ):
        with open(base + b"/" + name, "wb") as file:
            file.write(name)
    os.symlink(b"\xff/" * 1000, base + b"/link")
    deep = base + b"/d" * 200
    os.makedirs(deep)
    with open(deep + b"/file", "wb") as file:
        file.write(b"far below")


def holes(top: Path) -> None:
    with (top / "sparse").open("wb") as file:
        for at in (0, 5 * GB + 12345, 10 * GB - 3):
            file.seek(at)
            file.write(b"end")
    with (top / "only a hole").open("wb") as file:
        file.truncate(7 * MB + 1)
    with (top / "punched").open("wb") as file:
        file.write(b"x" * 2 * MB)
        file.flush()
        allocate(file.fileno(), MB // 2, MB, KEEP_SIZE | PUNCH_HOLE)
    with (top / "allocated").open("wb") as file:
        file.write(b"begin")
        file.flush()
        allocate(file.fileno(), 0, MB, 0)


def links(top: Path, new: Path) -> None:
    (new / "many").write_bytes(b"names" * 1000)
    for number in range(3):
        os.link(new / "many", new / f"many {number}")
    os.link(new / "many", top / "folder 5/deep/many")
    os.link(top / "linked 2", new / "of the image")
    os.link(new / "fifo", new / "fifo again")
    os.link(new / "old link", new / "old link again", follow_symlinks=False)
    os.link(new / "null", new / "null again")


def many(folder: Path, count: int) -> None:
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:06} of {count}").write_bytes(b"%d" % number)


def rewrite_unseen(path: Path, rng: random.Random) -> None:
    """Write other content of the same size, and set the times back."""
    status = path.stat()
    with path.open("r+b") as file:
        file.write(rng.randbytes(status.st_size))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def allocate(fd: int, offset: int, length: int, mode: int) -> None:
    if _libc.fallocate(fd, mode, ctypes.c_int64(offset), ctypes.c_int64(length)) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def write_mapped(path: Path, data: bytes, *, at: int) -> None:
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        memory[at : at + len(data)] = data


def unnamed(folder: Path, data: bytes, target: Path) -> None:
    """Write a file that has no name, then give it one."""
    fd = os.open(folder, os.O_TMPFILE | os.O_WRONLY, 0o644)
    try:
        os.write(fd, data)
        os.link(f"/proc/self/fd/{fd}", target, src_dir_fd=fd, follow_symlinks=True)
    finally:
        os.close(fd)


def main(what: str, *arguments: str) -> None:
    match what, arguments:
        case "image", (folder,):
            image(Path(folder))
        case "make", (folder,):
            make(Path(folder))
        case "many", (folder, count):
            many(Path(folder), int(count))
        case _:
            sys.exit(f"{what} is not what this can do.")


if __name__ == "__main__":
    main(*sys.argv[1:])
