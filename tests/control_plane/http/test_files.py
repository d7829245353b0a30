"""Files of checkpoints over HTTP: listed and downloaded, by whom, and what is said of damage."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from checkpoints.repository import Repository
from checkpoints.storage.folder import FolderStorage
from checkpoints.storage.opening import REPOSITORY_FOLDER
from checkpoints.tree.entry import Entry, Inline, Kind, Target
from common.clock import SteppingClock
from control_plane.api.files import FENCE, content_type, disposition, raw_parameter
from control_plane.browsing import IDLE_SECONDS
from control_plane.storage_process import StorageProcess
from tests.control_plane.http.test_checkpoints import ended, running, say, shown
from tests.support.packed import Packing
from tests.support.plane import ORIGIN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from tests.support.plane import Plane, Somebody

LONG = random.Random(1).randbytes(600_000)
ODD = "name with “quotes” & +%".encode() + b"\xff.html"


async def opened_store(folder: Path, seed: int) -> Repository:
    (folder / "work").mkdir(exist_ok=True)
    storage = FolderStorage(folder / "work", REPOSITORY_FOLDER)
    return await Repository.open(
        storage, create=True, clock=SteppingClock(), rng=random.Random(seed)
    )


async def stored(
    plane: Plane, folder: Path, *, many: int = 0, **fields: Any
) -> tuple[str, Mapping[str, Any]]:
    """A stopped Studio and its checkpoint, which has files."""
    session_id = await running(plane, **fields)
    checkpoint = await shown(plane, session_id)
    packing = Packing()
    home = Entry(kind=Kind.FOLDER, mode=0o700)
    entries = {
        b"root": home,
        b"root/a.csv": Entry(
            kind=Kind.FILE, mode=0o640, modified_ns=10**18, content=packing.file(LONG)
        ),
        b"root/" + ODD: Entry(kind=Kind.FILE, content=Inline(data=b"<script>alert(1)</script>")),
        b"root/holes": Entry(kind=Kind.FILE, content=packing.file(b"x" * 5000, 3 << 20, b"end")),
        b"root/link": Entry(kind=Kind.SYMBOLIC_LINK, content=Target(path=b"/etc/passwd")),
        b"root/gone": Entry(kind=Kind.DELETION),
        b"root/late": Entry(kind=Kind.FILE, modified_ns=2**63 - 1, content=Inline(data=b"")),
    }
    entries |= {b"root/%06d" % each: home for each in range(many)}
    number = int(checkpoint["path"].rpartition("/")[2], 16)
    await packing.commit(await opened_store(folder, number), entries, checkpoint=number)
    await say(plane, session_id, 1)
    await ended(plane, session_id)
    return session_id, await shown(plane, session_id)


def at(session_id: str, checkpoint: Mapping[str, Any], rest: str) -> str:
    return f"/api/studios/{session_id}/checkpoints/{checkpoint['id']}/{rest}"


@asynccontextmanager
async def download(who: Somebody, path: str) -> AsyncIterator[aiohttp.ClientResponse]:
    async with who.http.get(ORIGIN + path, headers=who.headers) as answer:
        yield answer


async def test_a_folder_is_listed_with_sizes_and_times(plane: Plane, folder: Path) -> None:
    session_id, checkpoint = await stored(plane, folder)
    top = (await plane.admin.get(at(session_id, checkpoint, "files"))).body
    assert [(one["name"], one["path"], one["kind"]) for one in top["files"]] == [
        ("root", "root", "folder")
    ]
    assert (top["next"], top["generation"]) == (None, 1)
    found = (await plane.admin.get(at(session_id, checkpoint, "files?path=/root"))).body["files"]
    by_name = {one["name"]: one for one in found}
    table = by_name["a.csv"]
    assert (table["size"], table["mode"], table["path"]) == (600_000, "0640", "root/a.csv")
    assert table["modified"].startswith("2001-09-09T01:46:40")
    assert by_name["holes"]["size"] == 5000 + (3 << 20) + 3
    assert by_name["link"]["target"] == "/etc/passwd"
    assert (by_name["gone"]["kind"], by_name["gone"]["modified"]) == ("deletion", None)
    assert "name with “quotes” & +%\\xff.html" in by_name


async def test_a_long_folder_comes_in_pages(plane: Plane, folder: Path) -> None:
    session_id, checkpoint = await stored(plane, folder, many=1200)
    names: list[str] = []
    after: str | None = ""
    while after is not None:
        path = at(session_id, checkpoint, f"files?path=root&after={after}")
        page = (await plane.admin.get(path)).body
        assert len(page["files"]) <= 500
        names += [one["name"] for one in page["files"]]
        after = page["next"]
    assert len(names) == len(set(names)) == 1206


async def test_a_file_comes_as_it_is_under_its_name(plane: Plane, folder: Path) -> None:
    session_id, checkpoint = await stored(plane, folder)
    async with download(plane.admin, at(session_id, checkpoint, "file?path=root/a.csv")) as answer:
        assert await answer.read() == LONG
        assert answer.headers["Content-Type"] == "text/csv"
        assert answer.headers["Content-Disposition"].startswith('attachment; filename="a.csv"')
    async with download(plane.admin, at(session_id, checkpoint, "file?path=root/holes")) as answer:
        assert await answer.read() == b"x" * 5000 + bytes(3 << 20) + b"end"
    async with download(plane.admin, at(session_id, checkpoint, "file?path=root/late")) as answer:
        assert (answer.status, await answer.read()) == (200, b"")


async def test_no_browser_shows_or_runs_what_is_in_a_file(plane: Plane, folder: Path) -> None:
    session_id, checkpoint = await stored(plane, folder)
    found = (await plane.admin.get(at(session_id, checkpoint, "files?path=root"))).body["files"]
    (odd,) = [one["path"] for one in found if one["name"].endswith(".html")]
    async with download(plane.admin, f"{at(session_id, checkpoint, 'file')}?path={odd}") as answer:
        assert await answer.read() == b"<script>alert(1)</script>"
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.headers["Content-Disposition"].startswith("attachment;")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Security-Policy"] == FENCE


async def test_what_is_not_there_is_said_in_words(plane: Plane, folder: Path) -> None:
    session_id, checkpoint = await stored(plane, folder)
    for path, status, words in (
        ("files?path=nothing", 404, "not changed"),
        ("file?path=nothing", 404, "not changed"),
        ("file?path=root", 400, "no file"),
        ("file?path=root/link", 400, "symbolic link"),
        ("files?path=root/a.csv", 400, "no folder"),
        ("files?path=../etc", 400, ".."),
        ("file?path=root%00", 404, "can't be a path"),
        ("files?path=%FF%FE", 404, "not changed"),
        ("files?max=501", 400, "max"),
        ("file", 400, "path"),
    ):
        answer = await plane.admin.get(at(session_id, checkpoint, path))
        assert answer.status == status, (path, answer.text)
        assert words in answer.message, path


async def test_damage_and_deletion_name_what_is_lost(plane: Plane, folder: Path) -> None:
    session_id, checkpoint = await stored(plane, folder)
    packs = folder / "work" / REPOSITORY_FOLDER
    (pack,) = (packs / "packs").rglob("*/*")
    whole = pack.read_bytes()
    pack.chmod(0o600)
    pack.write_bytes(bytes(len(whole)))
    answer = await plane.admin.get(at(session_id, checkpoint, "file?path=root/a.csv"))
    assert answer.status == 409, answer.text
    assert "“root/a.csv” can’t be read" in answer.message
    assert "(packs/" in answer.message
    answer = await plane.admin.get(at(session_id, checkpoint, "files?path=root"))
    assert answer.status == 200  # folders are in another pack
    (record,) = (packs / "checkpoints").rglob("*/*")
    record.chmod(0o600)
    record.write_bytes(b"nonsense")
    answer = await plane.admin.get(at(session_id, checkpoint, "files"))
    assert answer.status in {200, 409}  # the process may still have it open
    record.unlink()
    answer = await plane.admin.get(at(session_id, checkpoint, "files"))
    assert (answer.status, "deleted" in answer.message) == (404, True)


async def test_a_file_that_can_not_be_read_on_is_cut_and_never_short(
    plane: Plane, folder: Path
) -> None:
    session_id = await running(plane)  # so long that it is answered before it is read to its end
    checkpoint = await shown(plane, session_id)
    number = int(checkpoint["path"].rpartition("/")[2], 16)
    rng, repository = random.Random(5), await opened_store(folder, number)
    pieces = [(rng.randbytes(1 << 15) + bytes(1 << 15)) * 64 for _ in range(6)]
    packing = Packing()
    file = Entry(kind=Kind.FILE, content=packing.file(*pieces))
    await packing.commit(repository, {b"long": file}, checkpoint=number)
    (pack,) = (folder / "work" / REPOSITORY_FOLDER / "packs").rglob("*/*")
    pack.chmod(0o600)
    with pack.open("r+b") as stored_pack:
        stored_pack.seek(pack.stat().st_size * 11 // 12)  # in the last piece
        stored_pack.write(bytes(4096))
    await say(plane, session_id, 1)
    path = at(session_id, checkpoint, "file?path=long")
    async with download(plane.admin, path) as answer:
        assert answer.status == 200, await answer.text()
        assert int(answer.headers["Content-Length"]) == 24 << 20
        with pytest.raises(aiohttp.ClientError):
            await answer.read()


@pytest.mark.parametrize("role", ["admin", "maintain", "launch", "connect", "view"])
async def test_files_are_for_whoever_may_connect(plane: Plane, folder: Path, role: str) -> None:
    session_id, checkpoint = await stored(plane, folder)
    private, other = await stored(plane, folder, name="private", isPrivate=True)
    member = await plane.member(role)
    for rest in ("files", "file?path=root/late"):
        answer = await member.get(at(session_id, checkpoint, rest))
        assert answer.status == (403 if role == "view" else 200), answer.text
        answer = await member.get(at(private, other, rest))
        assert answer.status == 403, answer.text
        assert (await plane.nobody.get(at(session_id, checkpoint, rest))).status == 401
        assert (await plane.admin.get(at(session_id, other, rest))).status == 404


async def test_listing_a_long_folder_never_holds_the_loop_up(plane: Plane, folder: Path) -> None:
    session_id, checkpoint = await stored(plane, folder, many=50_000)
    path = at(session_id, checkpoint, "files?path=root")
    longest = 0.0

    async def measure() -> None:
        nonlocal longest
        while True:  # what the loop's thread does between two turns, however busy the machine is
            began = time.thread_time()
            await asyncio.sleep(0)
            longest = max(longest, time.thread_time() - began)

    async with asyncio.TaskGroup() as group:
        measuring = group.create_task(measure())
        assert len((await plane.admin.get(path)).body["files"]) == 500
        measuring.cancel()
    assert longest < 0.05


async def test_a_process_that_is_gone_is_replaced(
    plane: Plane, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    processes: list[StorageProcess] = []
    start = StorageProcess.start

    async def noted(module: str) -> StorageProcess:
        processes.append(await start(module))
        return processes[-1]

    monkeypatch.setattr(StorageProcess, "start", noted)
    session_id, checkpoint = await stored(plane, folder)
    path = at(session_id, checkpoint, "files")
    for _ in range(2):
        assert (await plane.admin.get(path)).status == 200
    assert len(processes) == 1  # it stays for the next question
    processes[0].kill()
    while processes[0].is_alive:
        await asyncio.sleep(0)
    assert (await plane.admin.get(path)).status == 200
    assert len(processes) == 2
    processes[1].kill()  # which nobody has noticed yet
    answer = await plane.admin.get(path)
    assert answer.status in {200, 503}
    assert (await plane.admin.get(path)).status == 200
    await plane.clock.advance(IDLE_SECONDS + 1)
    while processes[-1].is_alive:
        await asyncio.sleep(0)


def test_queries_keep_the_bytes_of_names() -> None:
    assert raw_parameter("path=a%FF+b%2B&path=c", "path") == b"a\xff b+"
    assert raw_parameter("x=1", "path") == b""


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (b"a.csv", "text/csv"),
        (b"a.PNG", "image/png"),
        (b"a.html", "application/octet-stream"),
        (b"a.svg", "application/octet-stream"),
        (b"a.xhtml", "application/octet-stream"),
        (b"a.js", "application/octet-stream"),
        (b"a.csv.gz", "application/octet-stream"),
        (b"\xff", "application/octet-stream"),
    ],
)
def test_types_are_of_names_that_nothing_runs(name: bytes, expected: str) -> None:
    assert content_type(name) == expected


def test_a_name_can_not_end_its_header() -> None:
    made = disposition(b'a"\r\nX: y; \xc3\xa4\xff')
    assert made.isascii()
    assert made.isprintable()
    assert made.startswith("attachment; filename=\"a___X: y; __\"; filename*=UTF-8''a%22%0D%0AX")
