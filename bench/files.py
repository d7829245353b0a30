"""How fast files are in a session, beside the volume below it, the machine's disk, and an overlay.

The same work is done on each file system in turn. All figures are rates: more is better, and a
ratio of 1 is "as fast as".
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench import materials, workbench
from bench.disk import drop_caches, scratch
from bench.places import DISK, OVERLAY, SESSION, VOLUME, in_turn, open_places
from bench.results import Findings, table
from bench.spread import spread

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bench.places import Place

_MEGA = 1_000_000
_DISK_BYTES_MAX = 24_000_000_000
_RANDOM_SECONDS_MAX = 10.0  # it is steady after one


@dataclass(frozen=True, slots=True)
class Row:
    """One rate, and how it is shown."""

    key: str
    title: str
    unit: str
    scale: float = 1.0


ROWS = (
    Row("write", "write 1 GB and fsync", "MB/s", _MEGA),
    Row("read, cold", "read it, cold", "MB/s", _MEGA),
    Row("read", "read it, warm", "MB/s", _MEGA),
    Row("random", "read 4 KiB at random, 16 at once, direct", "reads/s"),
    Row("create", "make 1 KB files", "files/s"),
    Row("stat", "stat them", "files/s"),
    Row("unlink", "remove them", "files/s"),
    Row("unpack", "`tar -x`, 20 000 files", "files/s"),
    Row("status", "`git status` of them, warm", "files/s"),
    Row("status, cold", "`git status` of them, cold", "files/s"),
    Row("remove", "`rm -r` of them, cold", "files/s"),
    Row("install", "`pip install`, 2 000 files", "files/s"),
    Row("walk, cold", "walk through /usr, cold", "files/s"),
    Row("walk", "walk through /usr, warm", "files/s"),
)

Samples = dict[tuple[str, str], list[float]]
"""Rates, by place and row."""


async def run(rounds: int, seconds: float, say: Callable[[str], None]) -> Findings:
    """Do all work in every place in every round."""
    samples: Samples = {}
    async with scratch(_DISK_BYTES_MAX) as folder:
        await asyncio.to_thread(materials.write_archive, folder / "tree.tar")
        wheel = await asyncio.to_thread(materials.write_wheel, folder)
        async with open_places(folder) as places:
            work = _Work(str(folder / "tree.tar"), str(wheel), min(seconds, _RANDOM_SECONDS_MAX))
            for number, place in in_turn(places, rounds):
                rates = await work.do(place)
                for key, rate in rates.items():
                    samples.setdefault((place.name, key), []).append(rate)
                say(f"round {number}/{rounds}  {place.name:14} {_in_short(rates)}")
    return Findings("Files in a session", sections(samples, rounds), (), "")


@dataclass(frozen=True, slots=True)
class _Work:
    archive: str
    wheel: str
    random_seconds: float

    async def do(self, place: Place) -> dict[str, float]:
        """Do everything once; return the rates by row."""
        return {
            **await self._large_file(place),
            **await place.work("small_files"),
            **await self._tree(place),
            **await place.work("install", wheel=self.wheel),
            **await self._image(place),
        }

    async def _large_file(self, place: Place) -> dict[str, float]:
        rates = await _settled(place, "write")
        rates |= _cold(await _forgotten(place, "read"))
        rates |= await place.work("read")
        rates |= await place.work("read_randomly", seconds=str(self.random_seconds))
        await place.work("remove_large")
        return rates

    async def _tree(self, place: Place) -> dict[str, float]:
        rates = await _settled(place, "unpack", archive=self.archive)
        await place.work("commit")
        rates |= await _settled(place, "status")
        rates |= _cold(await _forgotten(place, "status"))
        return rates | await _forgotten(place, "remove")

    async def _image(self, place: Place) -> dict[str, float]:
        if place.image is None:
            return {}
        rates = _cold(await _forgotten(place, "walk", place.image))
        return rates | await place.work("walk", place.image)


async def _settled(place: Place, work: str, archive: str = "") -> dict[str, float]:
    """Have work done once nothing is left to be written of what was before."""
    await asyncio.to_thread(os.sync)
    return await (place.work(work, archive=archive) if archive else place.work(work))


async def _forgotten(place: Place, work: str, folder: Path | None = None) -> dict[str, float]:
    """Have work done on files that are in nobody's memory."""
    await drop_caches()
    return await place.work(work, folder)


def _cold(rates: dict[str, float]) -> dict[str, float]:
    return {f"{key}, cold": rate for key, rate in rates.items()}


# ── what it comes to; pure ───────────────────────────────────────────────────


def sections(samples: Samples, rounds: int) -> list[str]:
    """Return the section's paragraphs and tables."""
    return [
        f"The same work on the machine's disk ({DISK}), in an overlay of /usr on it, as Docker and "
        f"Podman have it ({OVERLAY}), on the volume alone, and in a session. Medians of {rounds} "
        f"rounds, more is better. There are {workbench.SMALL_FILES} files of 1 KB. Cold is after "
        "`drop_caches`; below a virtual machine, the host may still remember.",
        table(
            (
                *("work", "unit", DISK, OVERLAY, VOLUME, SESSION),
                *(f"session ÷ {name}" for name in (VOLUME, OVERLAY, DISK)),
            ),
            [_row(samples, row) for row in ROWS],
        ),
    ]


def _row(samples: Samples, row: Row) -> tuple[str, ...]:
    medians = {
        name: spread(samples[name, row.key]).median
        for name in (DISK, OVERLAY, VOLUME, SESSION)
        if (name, row.key) in samples
    }
    ours = medians[SESSION]
    return (
        row.title,
        row.unit,
        *(
            f"{medians[name] / row.scale:.0f}" if name in medians else "–"
            for name in (DISK, OVERLAY, VOLUME, SESSION)
        ),
        *(
            f"{ours / medians[name]:.2f}×" if name in medians else "–"
            for name in (VOLUME, OVERLAY, DISK)
        ),
    )


def _in_short(rates: dict[str, float]) -> str:
    return ", ".join(
        f"{row.key} {rates[row.key] / row.scale:.0f}" for row in ROWS if row.key in rates
    )
