"""Layers of images: what other programs make of ours, and we of theirs."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest
import zstandard

from checkpoints.reading import export as export_module
from checkpoints.reading.export import export_layer
from checkpoints.reading.failures import RestoreError
from checkpoints.reading.layer import LeftOut
from checkpoints.reading.restore import restore
from checkpoints.reading.unpacking import unpack_layer
from checkpoints.tree.entry import DELETION, Kind
from tests.support.every_kind import every_kind, file, node, without_times_of_deletions
from tests.support.folder_facts import look
from tests.support.packed import Packing

if TYPE_CHECKING:
    from pathlib import Path

    from checkpoints.reading.export import Exported
    from checkpoints.repository import Repository
    from tests.support.folder_facts import Facts


async def export(
    repository: Repository, tmp_path: Path
) -> tuple[Exported, Path, dict[bytes, Facts]]:
    """Return the layer of a tree with everything, and what restoring that tree gives."""
    packing = Packing()
    entries = every_kind(packing)
    entries[b"x" * 120 + b"/" + b"y" * 200] = file(b"long")
    entries[b"x" * 120] = node(Kind.FOLDER, mode=0o700, user=2**31, group=2**32 - 2)
    record = await packing.commit(repository, entries)
    await restore(repository, record, tmp_path / "restored")
    layer = tmp_path / "layer.tar.zst"
    with layer.open("wb") as output:
        exported = await export_layer(repository, record, output)
    facts = look(tmp_path / "restored")
    del facts[b"socket"]
    return exported, layer, facts


def unpacked(layer: Path, folder: Path) -> dict[bytes, Facts]:
    folder.mkdir()
    with layer.open("rb") as file:
        unpack_layer(file, folder)
    return look(folder)


async def test_a_layer_unpacked_is_what_was_restored(
    repository: Repository, tmp_path: Path
) -> None:
    exported, layer, facts = await export(repository, tmp_path)
    assert exported.left_out == (LeftOut(b"socket", "layers have no sockets"),)
    found = unpacked(layer, tmp_path / "unpacked")
    assert without_times_of_deletions(found) == without_times_of_deletions(facts)


async def test_small_windows_make_the_same_layer(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packing = Packing()
    record = await packing.commit(repository, every_kind(packing))
    whole, pieces = io.BytesIO(), io.BytesIO()
    first = await export_layer(repository, record, whole)
    monkeypatch.setattr(export_module, "WINDOW_BYTES", 5000)
    monkeypatch.setattr(export_module, "WINDOW_PIECES", 7)
    second = await export_layer(repository, record, pieces)
    assert first == second
    assert whole.getvalue() == pieces.getvalue()
    assert first.size_bytes == len(whole.getvalue())


async def test_gnu_tar_unpacks_every_entry(repository: Repository, tmp_path: Path) -> None:
    _, layer, facts = await export(repository, tmp_path)
    (tmp_path / "tar").mkdir()
    run(
        "tar", "--zstd", "-xpf", layer, "-C", tmp_path / "tar", "--xattrs", "--xattrs-include=*",
        "--numeric-owner", "--same-owner", "--delay-directory-restore",
    )  # fmt: skip
    found = look(tmp_path / "tar")
    assert {b".wh.gone", b"folder/.wh.gone", b"folder.old/.wh..wh..opq"} <= found.keys()
    told = {path: fact for path, fact in facts.items() if fact.device != (0, 0)}
    for path, fact in told.items():
        if path != b"folder.old":  # opaque by a name, not by an attribute
            assert (path, found[path]) == (path, fact)
    assert len(found) == len(told) + 3


async def test_an_image_with_the_layer_is_what_the_session_saw(
    repository: Repository, tmp_path: Path, ground: Path
) -> None:
    """The kernel's overlay of image and restored changes is what umoci makes of both layers."""
    packing = Packing()
    entries = every_kind(packing)
    del entries[b"socket"]
    record = await packing.commit(repository, entries)
    image = ground / "image"
    for name in ("folder/gone/deep", "folder.old/hidden", "folder/kept", "only here", "a name"):
        (image / name).mkdir(parents=True)
        (image / name / "file").write_bytes(b"of the image")
    (image / "gone").write_bytes(b"of the image")
    merged = ground / "merged"
    for folder in (merged, ground / "work", ground / "upper"):
        folder.mkdir()
    await restore(repository, record, ground / "upper")
    with (tmp_path / "layer.tar.zst").open("wb") as output:
        await export_layer(repository, record, output)
    run("zstd", "-dq", tmp_path / "layer.tar.zst")
    run("tar", "--format=posix", "-cf", tmp_path / "image.tar", "-C", image, ".")
    layout = tmp_path / "layout"
    run("umoci", "init", "--layout", layout)
    run("umoci", "new", "--image", f"{layout}:it")
    for layer in ("image.tar", "layer.tar"):
        run("umoci", "raw", "add-layer", "--image", f"{layout}:it", tmp_path / layer)
    run("umoci", "unpack", "--image", f"{layout}:it", ground / "bundle")
    options = f"lowerdir={image},upperdir={ground / 'upper'},workdir={ground / 'work'}"
    run("mount", "-t", "overlay", "overlay", "-o", options, merged)
    try:
        seen = look(merged)
    finally:
        run("umount", merged)
    assert look(ground / "bundle/rootfs") == seen
    assert b"folder.old/hidden" not in seen
    assert b"folder/kept/file" in seen


def run(*arguments: str | Path) -> None:
    subprocess.run(arguments, check=True, capture_output=True)


async def test_an_archive_of_gnu_tar_is_unpacked(tmp_path: Path) -> None:
    made = tmp_path / "made"
    (made / "a/b").mkdir(parents=True)
    (made / "a/b/file").write_bytes(b"content" * 1000)
    (made / "a/link").symlink_to("b/file")
    (made / "a/hard").hardlink_to(made / "a/b/file")
    (made / ("n" * 250)).write_bytes(b"")
    (made / "a/.wh.gone").touch()
    run("tar", "-czf", tmp_path / "layer.tar.gz", "-C", made, ".")
    found = unpacked(tmp_path / "layer.tar.gz", tmp_path / "unpacked")
    assert found[b"a/b/file"].content == b"content" * 1000
    assert found[b"a/b/file"].twins == (b"a/hard",)
    assert found[b"a/link"].content == b"b/file"
    assert found[b"a/gone"].device == (0, 0)
    assert b"n" * 250 in found


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "link/evil", "/link/evil"])
async def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "outside").mkdir()
    with tarfile.open(tmp_path / "layer.tar", "w") as archive:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path / "outside")
        archive.addfile(link)
        archive.addfile(tarfile.TarInfo(name))
    if ".." in name:
        with pytest.raises(RestoreError, match="leads out of the layer"):
            unpacked(tmp_path / "layer.tar", tmp_path / "unpacked")
    else:
        unpacked(tmp_path / "layer.tar", tmp_path / "unpacked")
        assert (tmp_path / "unpacked/link/evil").is_file()
        assert not (tmp_path / "unpacked/link").is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["layer.tar", "outside", "unpacked"]
    assert not os.listdir(tmp_path / "outside")


async def test_a_layer_cut_off_is_refused(repository: Repository, tmp_path: Path) -> None:
    _, layer, _ = await export(repository, tmp_path)
    data = layer.read_bytes()
    for number, size in enumerate((0, 100, len(data) // 2, len(data) - 1)):
        layer.write_bytes(data[:size])
        with pytest.raises(RestoreError):
            unpacked(layer, tmp_path / str(number))


async def test_names_that_layers_take_for_deletions_are_left_out(
    repository: Repository, tmp_path: Path
) -> None:
    packing = Packing()
    record = await packing.commit(
        repository,
        {
            b".wh.a": file(b"1"),
            b".wh.b": node(Kind.FOLDER),
            b".wh.b/c": file(b"2"),
            b"d": file(b"3", attributes=((b"user.a=b", b"c"), (b"user.e", b"f"))),
            b"gone": DELETION,
        },
    )
    output = io.BytesIO()
    exported = await export_layer(repository, record, output)
    assert [left.path for left in exported.left_out] == [b".wh.a", b".wh.b", b"d", b".wh.b/c"]
    (tmp_path / "layer").write_bytes(output.getvalue())
    found = unpacked(tmp_path / "layer", tmp_path / "unpacked")
    assert found.keys() == {b"", b"d", b"gone"}
    assert found[b"d"].attributes == (("user.e", b"f"),)
    assert zstandard.decompress(output.getvalue(), 1 << 20).startswith(b"./")
