"""`studios checkpoints write` and `import`: folders and layers become checkpoints."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.checkpoint_commands import LONG, read
from tests.support.folder_facts import look
from tests.support.full_disk import small_disk
from tests.support.s3_servers import BUCKET, KEY_ID, SECRET_KEY, moto_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.studios.conftest import Studios


async def test_a_folder_is_written_again_and_again(
    studios: Studios, work: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "mine"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep/file").write_bytes(LONG)
    written = await read(studios, "write", folder, "-w", work)
    name = written["checkpointId"]
    assert (written["generation"], written["entries"], written["final"]) == (1, 3, False)
    (folder / "new").write_bytes(b"more")
    again = await read(studios, "write", folder, "-w", work, "--checkpoint", name[:9], "--final")
    assert (again["checkpointId"], again["generation"]) == (name, 2)
    assert again["addedBytes"] < len(LONG)
    restored = await read(studios, "restore", name, tmp_path / "back", "-w", work)
    assert restored["leftOut"] == []
    assert look(tmp_path / "back") == look(folder)
    changes = await read(studios, "diff", f"{name}@1", name, "-w", work)
    assert [change["path"] for change in changes if change["change"] == "added"] == ["new"]
    done = await studios("checkpoints", "diff", name, name, "-w", str(work))
    assert (done.stdout, done.stderr.strip()) == ("", "Nothing differs.")


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ("aaa", "is a session's, which would be stopped"),
        ("mine", "begins with mine. Leave out --checkpoint to begin one"),
        ("a" * 16, "Leave out --checkpoint to begin one"),
        ("", "Several checkpoints' ids begin with"),
    ],
)
async def test_what_a_session_writes_is_not_written_to(
    studios: Studios, work: Path, tmp_path: Path, wanted: str, sentence: str
) -> None:
    arguments = ("checkpoints", "write", str(tmp_path / "home"), "-w", str(work))
    (tmp_path / "home").mkdir(exist_ok=True)
    done = await studios(*arguments, "--checkpoint", wanted)
    assert done.exit_code in {1, 3}, done.output
    assert sentence in done.stderr


NOBODY = 65534
AS_NOBODY = f"""
import os
from studios.__main__ import main
os.setgroups([])
os.setresgid({NOBODY}, {NOBODY}, {NOBODY})
os.setresuid({NOBODY}, {NOBODY}, {NOBODY})
main()
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """One that anybody may write to."""
    with tempfile.TemporaryDirectory(prefix="studios-test-") as name:
        Path(name).chmod(0o777)
        yield Path(name)


@pytest.mark.parametrize("owner", [NOBODY, 0])
async def test_whoever_may_not_own_for_others_imports_his_own(
    open_folder: Path, owner: int
) -> None:
    with tarfile.open(open_folder / "layer.tar", "w") as layer:
        for name in ("folder/file", "folder/.wh.gone"):
            layer.addfile(archived(name, owner))
    done = await asyncio.create_subprocess_exec(
        sys.executable, "-c", AS_NOBODY, "checkpoints", "import", str(open_folder / "layer.tar"),
        "-w", str(open_folder), "-o", "json",
        env={"PATH": os.defpath, "HOME": str(open_folder), "TMPDIR": str(open_folder)},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, said = await done.communicate()
    if owner == NOBODY:
        assert done.returncode == 0, said
        assert json.loads(out)["entries"] == 4
    else:
        assert done.returncode == 1
        assert b"'folder/file' could not be unpacked: Operation not permitted" in said
        assert b"run this as root" in said


def archived(name: str, owner: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.uid = info.gid = owner
    return info


async def test_no_name_acts_on_the_terminal(studios: Studios, work: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    socket = os.path.join(tmp_path, "mine", "a\x1b]0;title\x07")
    os.mknod(socket, stat.S_IFSOCK)
    written = await read(studios, "write", tmp_path / "mine", "-w", work)
    arguments = ("export", written["checkpointId"], str(tmp_path / "layer"), "-w", str(work))
    done = await studios("checkpoints", *arguments)
    assert done.exit_code == 0, done.output
    assert "Left out: /a\\x1b]0;title\\x07: layers have no sockets" in done.stderr


async def test_export_names_its_own_file_on_a_full_disk(
    studios: Studios, work: Path, tmp_path: Path
) -> None:
    (tmp_path / "small").mkdir()
    with small_disk(tmp_path / "small", size_bytes=1 << 20):
        layer = tmp_path / "small/layer"
        done = await studios("checkpoints", "export", "bbb", str(layer), "-w", str(work))
        assert not layer.exists()
    assert done.exit_code == 1
    assert f"{layer} can't be written: No space left on device" in done.stderr


async def test_nothing_follows_the_final_generation(
    studios: Studios, work: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    written = await read(studios, "write", tmp_path / "mine", "-w", work, "--final")
    arguments = ("write", str(tmp_path / "mine"), "-w", str(work))
    done = await studios("checkpoints", *arguments, "--checkpoint", written["checkpointId"])
    assert done.exit_code == 1
    assert "has its final generation: continue it under another id" in done.stderr


async def test_a_bucket_is_reached_as_the_environment_says_unless_something_else_is_typed(
    studios: Studios, tmp_path: Path
) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files/a").write_text("1,2\n")
    place = ("-w", f"s3://{BUCKET}/labs")
    with moto_server() as endpoint:
        environ = {
            "AWS_ACCESS_KEY_ID": KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_ENDPOINT_URL": endpoint,
        }
        write = ("checkpoints", "write", str(tmp_path / "files"), *place)
        written = await studios(*write, environ=environ)
        assert written.exit_code == 0, written.output
        scanned = await studios("checkpoints", "scan", *place, "-o", "json", environ=environ)
        assert [one["entries"] for one in json.loads(scanned.stdout)] == [2]
        nowhere = {**environ, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
        typed = ("--endpoint", endpoint, "-o", "json")
        again = await studios("checkpoints", "scan", *place, *typed, environ=nowhere)
        assert again.stdout == scanned.stdout
        del environ["AWS_SECRET_ACCESS_KEY"]
        half = await studios("checkpoints", "scan", *place, environ=environ)
        assert half.exit_code == 2
        assert "AWS_ACCESS_KEY_ID is set without AWS_SECRET_ACCESS_KEY" in half.stderr
