"""`studios checkpoints`, on a work directory and without a control plane."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import pytest

from checkpoints.format import names
from checkpoints.storage.opening import REPOSITORY_FOLDER
from studios.commands.checkpoints import streams
from tests.support.checkpoint_commands import LONG, open_repository, read
from tests.support.folder_facts import look

if TYPE_CHECKING:
    from pathlib import Path

    from tests.studios.conftest import Studios


async def test_scan_lists_checkpoints_and_generations(studios: Studios, work: Path) -> None:
    first, second = await read(studios, "scan", "-w", work)
    assert first["checkpointId"] == "aaa0000000000000"
    assert first["generations"] == [2, 1]
    assert first["status"] == "interim"
    assert first["fileBytes"] == len(LONG) + 70_003 + 1
    assert second["checkpointId"] == "bbb0000000000000"
    table = await studios("checkpoints", "scan", "-w", str(work))
    assert "aaa0000000000000  interim  2, 1 " in table.stdout


async def test_ls_shows_every_kind(studios: Studios, work: Path) -> None:
    entries = await read(studios, "ls", "bbb", "-w", work)
    kinds = {entry["path"]: entry["kind"] for entry in entries}
    assert kinds["gone"] == "deletion"
    assert kinds["link"] == "symbolic-link"
    assert len(set(kinds.values())) == 8
    table = await studios("checkpoints", "ls", "bbb", "-w", str(work))
    assert "link → /etc/passwd" in table.stdout
    assert "deleted" in table.stdout
    everything = await read(studios, "ls", "bbb", "-R", "-w", work)
    assert "folder/inside" in [entry["path"] for entry in everything]
    (one,) = await read(studios, "ls", "aaa@1", "/root/gone", "-w", work)
    assert one["size"] == 1


async def test_cat_prints_a_file_as_it_was(studios: Studios, work: Path) -> None:
    for name, content in (
        ("aaa", LONG + bytes(70_000) + b"end"), ("aaa@1", LONG), ("aaa@2026-01-02T08:00", LONG),
    ):  # fmt: skip
        done = await studios("checkpoints", "cat", name, "/root/a", "-w", str(work))
        assert done.exit_code == 0
        assert done.stdout_bytes == content


async def test_diff_names_what_differs(studios: Studios, work: Path) -> None:
    changes = await read(studios, "diff", "aaa@1", "aaa@2", "-w", work)
    assert [(change["path"], change["change"]) for change in changes] == [
        ("root/a", "changed"), ("root/b", "added"), ("root/gone", "removed"),
    ]  # fmt: skip


async def test_restore_file_brings_one_file_back(
    studios: Studios, work: Path, tmp_path: Path
) -> None:
    target = tmp_path / "back"
    arguments = ("checkpoints", "restore-file", "aaa", "root/a", "-w", str(work))
    done = await studios(*arguments, "--to", str(target))
    assert done.exit_code == 0, done.output
    assert target.read_bytes() == LONG + bytes(70_000) + b"end"
    assert target.stat().st_mtime_ns == 12_000_000_345
    again = await studios(*arguments, "--to", str(target))
    assert again.exit_code == 1
    assert "exists: give another name with --to" in again.stderr


async def test_restore_and_import_of_an_export_are_the_same(
    studios: Studios, work: Path, tmp_path: Path
) -> None:
    one, two, layer = tmp_path / "one", tmp_path / "two", tmp_path / "layer"
    done = await studios("checkpoints", "restore", "bbb", str(one), "-w", str(work))
    assert done.exit_code == 0, done.output
    told = await read(studios, "export", "bbb", layer, "-w", work)
    assert told["size"] == layer.stat().st_size
    assert told["digest"] == f"sha256:{hashlib.sha256(layer.read_bytes()).hexdigest()}"
    assert [left["path"] for left in told["leftOut"]] == ["socket"]
    imported = await studios("checkpoints", "import", str(layer), "-w", str(work))
    assert imported.exit_code == 0, imported.output
    name = imported.stdout.strip()
    done = await studios("checkpoints", "restore", name, str(two), "-w", str(work))
    assert done.exit_code == 0, done.output
    there, here = look(one), look(two)
    del there[b"socket"]
    for found in (there, here):
        for path in (b"gone", b"folder/gone"):
            assert found.pop(path).device == (0, 0)
    assert here == there


async def test_verify_ends_with_1_and_names_damage(studios: Studios, work: Path) -> None:
    assert (await read(studios, "verify", "-w", work))["sound"]
    repository = await open_repository(work)
    found = [key async for key in repository.storage.list("checkpoints/aaa0000000000000/")]
    whole = await repository.storage.get(found[0].key)
    await repository.storage.delete(found[0].key)
    await repository.storage.put_new(found[0].key, whole[:-5])
    done = await studios("checkpoints", "verify", "-w", str(work))
    assert done.exit_code == 1
    assert names.parse_record(found[0].key)
    assert found[0].key in done.stdout
    assert "not all is well" in done.stderr


async def test_stats_say_what_deleting_would_free(studios: Studios, work: Path) -> None:
    found = await read(studios, "stats", "-w", work)
    first, second = found["checkpoints"]
    assert first["generations"] == 2
    assert first["ownBytes"] > 0
    assert second["ownBytes"] > 6 << 20
    assert found["neededBytes"] <= found["storedBytes"]


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("ls", "ccc"), 3, "No checkpoint there has an id that begins with ccc"),
        (("ls", "mine"), 3, "doesn't begin with a checkpoint's id"),
        (("ls", "aaa@7"), 3, "No such generation is kept. There are: 2, 1."),
        (("ls", "aaa@2020-01-01"), 3, "No such generation is kept"),
        (("ls", "aaa@yesterday"), 3, "neither a generation's number nor a time"),
        (("ls", "aaa", "/nowhere"), 3, "was not changed"),
        (("cat", "aaa", "/root"), 3, "is no file: it is a folder"),
        (("cat", "aaa", "../x"), 3, "has `..` in it"),
    ],
)
async def test_what_is_not_there_ends_with_3(
    studios: Studios, work: Path, arguments: tuple[str, ...], code: int, sentence: str
) -> None:
    done = await studios("checkpoints", *arguments, "-w", str(work))
    assert done.exit_code == code, done.output
    assert sentence in done.stderr


async def test_lists_are_printed_as_they_come(
    studios: Studios, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = await read(studios, "ls", "bbb", "-R", "-w", work)
    lines = (await studios("checkpoints", "ls", "bbb", "-R", "-w", str(work))).stdout
    monkeypatch.setattr(streams, "PAGE", 3)
    assert await read(studios, "ls", "bbb", "-R", "-w", work) == once
    assert (await studios("checkpoints", "ls", "bbb", "-R", "-w", str(work))).stdout == lines
    assert len(lines.splitlines()) == len(once) + 1
    assert "\\x01\\x02" in lines  # what terminals would act on is shown


@pytest.mark.parametrize("damage", [None, b"{}", b'{"format": 1, "chunk'])
async def test_a_lost_format_is_named_and_laid_down_anew(
    studios: Studios, work: Path, tmp_path: Path, damage: bytes | None
) -> None:
    path = work / REPOSITORY_FOLDER / names.FORMAT
    path.unlink()
    if damage is not None:
        path.write_bytes(damage)
        done = await studios("checkpoints", "ls", "aaa", "-w", str(work))
        assert done.exit_code == 1
        assert "format.json" in done.stderr
        assert "verify" in done.stderr
    done = await studios("checkpoints", "verify", "-w", str(work))
    assert done.exit_code == 1
    assert done.stdout.splitlines()[1].startswith("format.json")
    assert "holds no data: delete what is there of it" in done.stderr
    path.unlink(missing_ok=True)
    (tmp_path / "mine").mkdir()
    await read(studios, "write", tmp_path / "mine", "-w", work)
    assert (await read(studios, "verify", "-w", work))["sound"]


async def test_what_is_damaged_says_how_to_get_the_rest(
    studios: Studios, work: Path, tmp_path: Path
) -> None:
    repository = await open_repository(work)
    async for listed in repository.storage.list("packs/"):
        await repository.storage.delete(listed.key)
    done = await studios("checkpoints", "restore", "aaa", str(tmp_path / "one"), "-w", str(work))
    assert done.exit_code == 1
    assert "`--keep-going`, into another folder, restores what can be" in done.stderr
    assert "one is incomplete: remove it" in done.stderr
    arguments = ("restore", "aaa", str(tmp_path / "two"), "--keep-going", "-w", str(work))
    done = await studios("checkpoints", *arguments)
    assert done.exit_code == 1
    assert "Left out: /root/a: packs/" in done.stderr
    assert sorted(os.listdir(tmp_path / "two/root")) == ["b"]


async def test_a_folder_without_checkpoints_says_so(studios: Studios, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    done = await studios("checkpoints", "scan", "-w", str(empty))
    assert (done.exit_code, os.listdir(empty)) == (3, [])
    assert "There are no checkpoints in this work directory" in done.stderr
    done = await studios("checkpoints", "scan", "-w", str(tmp_path / "none"))
    assert done.exit_code == 3
    done = await studios("checkpoints", "scan", "-w", "ftp://x")
    assert done.exit_code == 2
