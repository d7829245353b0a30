"""What was measured as tables, and which bars were met. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.checkpoints.changes import WRITTEN_BYTES
from bench.checkpoints.gaps import TICK_SECONDS
from bench.checkpoints.samples import (
    BORG,
    CHANGED,
    COLLECTED,
    FIRST,
    FOLDER,
    MANY_FIRST,
    MILLION_ALL,
    MILLION_FIRST,
    MILLION_FOLDER,
    MILLION_OPEN,
    MILLION_UNCHANGED,
    OURS,
    OURS_LISTED,
    OURS_SCANNED,
    RESTIC,
    RESTORE,
    S3,
    TAR,
    UNCHANGED,
)
from bench.results import Bar, Findings, table
from bench.spread import spread

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.checkpoints.samples import Samples

FIRST_TIMES, RESTORE_TIMES = 3.0, 1.5
UNCHANGED_SECONDS, CHANGED_SECONDS, OPEN_SECONDS = 0.05, 2.0, 1.0
STORED_TIMES, COLLECTED_TIMES = 1.15, 1.0
PEAK_BYTES = 300_000_000

_MEGA = 1_000_000
_NONE = "–"
_STORES = (FOLDER, S3)
_TOOLS = {FOLDER: (OURS, RESTIC, BORG, TAR), S3: (OURS, RESTIC)}


def findings(samples: Samples, rounds: int) -> Findings:
    """Return the section."""
    return Findings("Checkpoints", sections(samples, rounds), bars(samples), why(samples))


def sections(samples: Samples, rounds: int) -> list[str]:
    """Return the section's paragraphs and tables."""
    files, total_bytes = samples.data
    return [
        f"{files} files of {total_bytes / 1e9:.2f} GB: a copy of JupyterLab's environment, and "
        "notebooks, tables, arrays and pictures from a seed. Files lie on a session's volume, all "
        "in the page cache; repositories in a folder on the machine's disk, or behind `rclone "
        f"serve s3` on the same disk. Medians of {rounds} rounds, in brackets least and most. "
        "First writes and reading back are whole processes, from before they are made; the other "
        "steps of ours are in a process that lives, as an agent does. What was read back was "
        "compared: names, modes, owners, times, links, attributes, and every byte.",
        *(_mixed(samples, store) for store in _STORES),
        f"{WRITTEN_BYTES / _MEGA:.0f} MB that can't be compressed, written into 101 of 200 000 "
        "files, with 10 more files and 10 fewer. The upload is included.",
        _many(samples),
        f"{samples.million_entries} entries, to a folder; each opened in a new process, with its "
        "index in the page cache:",
        _million(samples),
        "What our event loop is late for meanwhile, in ms: gaps between calls of a ticker with an "
        f"interval of {TICK_SECONDS * 1000:.0f} ms; the worst of all rounds. And the most memory "
        "that any process of ours had resident:",
        _loop(samples),
    ]


def _mixed(samples: Samples, store: str) -> str:
    tools = _TOOLS[store]
    return table(
        (f"to {'a folder' if store == FOLDER else store}", *tools),
        [
            ("first write, s", *(_seconds(samples, store, FIRST, tool) for tool in tools)),
            ("CPU time of that, s", *(_cpu(samples, store, FIRST, tool) for tool in tools)),
            (
                "nothing changed, and told so, s",
                _seconds(samples, store, UNCHANGED, OURS_LISTED),
                *(_NONE for _ in tools[1:]),
            ),
            (
                "nothing changed, found out, s",
                _seconds(samples, store, UNCHANGED, OURS_SCANNED),
                *(_seconds(samples, store, UNCHANGED, tool) for tool in tools[1:]),
            ),
            ("read back, s", *(_seconds(samples, store, RESTORE, tool) for tool in tools)),
            ("CPU time of that, s", *(_cpu(samples, store, RESTORE, tool) for tool in tools)),
            ("stored, MB", *(_size(samples, store, FIRST, tool) for tool in tools)),
            (
                "stored after collections, MB",
                *(_size(samples, store, COLLECTED, tool) for tool in tools),
            ),
        ],
    )


def _many(samples: Samples) -> str:
    columns = (OURS_LISTED, OURS_SCANNED, RESTIC, BORG)
    return table(
        ("200 000 files", *columns),
        [
            *(
                (
                    f"first write, to {'a folder' if store == FOLDER else store}, s",
                    _seconds(samples, store, MANY_FIRST, OURS),
                    "the same",
                    *(_seconds(samples, store, MANY_FIRST, tool) for tool in columns[2:]),
                )
                for store in _STORES
            ),
            *(
                (
                    f"10 MB changed, to {'a folder' if store == FOLDER else store}, s",
                    *(_seconds(samples, store, CHANGED, tool) for tool in columns),
                )
                for store in _STORES
            ),
            *(
                (
                    f"CPU time of that, {store}, s",
                    *(_cpu(samples, store, CHANGED, tool) for tool in columns),
                )
                for store in _STORES
            ),
        ],
    )


def _million(samples: Samples) -> str:
    steps = {
        "write, once": (MILLION_FIRST, OURS),
        "write, nothing changed, and told so": (MILLION_UNCHANGED, OURS_LISTED),
        "write, nothing changed, found out": (MILLION_UNCHANGED, OURS_SCANNED),
        MILLION_OPEN: (MILLION_OPEN, OURS),
        MILLION_FOLDER: (MILLION_FOLDER, OURS),
        MILLION_ALL: (MILLION_ALL, OURS),
    }
    return table(
        ("1 000 000 entries", "seconds", "CPU time, s"),
        [
            (title, _seconds(samples, FOLDER, *step), _cpu(samples, FOLDER, *step))
            for title, step in steps.items()
        ],
    )


def _loop(samples: Samples) -> str:
    steps = [key for key in samples.stalls if key[1] in {FIRST, UNCHANGED, RESTORE, CHANGED}]
    return table(
        ("step", "store", "99 % of gaps, ms", "longest, ms", "memory, MB"),
        [
            (
                step if tool == OURS else f"{step}: {tool}",
                store,
                f"{max(stall.p99_seconds for stall in stalls) * 1000:.0f}",
                f"{max(stall.most_seconds for stall in stalls) * 1000:.0f}",
                f"{samples.peaks[store, step, tool] / _MEGA:.0f}",
            )
            for store, step, tool in steps
            for stalls in (samples.stalls[store, step, tool],)
        ],
    )


# ── bars ─────────────────────────────────────────────────────────────────────


def bars(samples: Samples) -> list[Bar]:
    """Return what was to be reached, and whether it was."""
    return [
        *_times_restic(samples, FIRST, FIRST_TIMES),
        *_at_most(samples, UNCHANGED, OURS_LISTED, UNCHANGED_SECONDS),
        *_at_most(samples, CHANGED, OURS_LISTED, CHANGED_SECONDS),
        *_at_most(samples, CHANGED, OURS_SCANNED, CHANGED_SECONDS),
        *_times_restic(samples, RESTORE, RESTORE_TIMES),
        *_stored(samples, FIRST, STORED_TIMES),
        *_stored(samples, COLLECTED, COLLECTED_TIMES),
        _peak(samples),
        _open(samples),
    ]


def _times_restic(samples: Samples, step: str, times: float) -> Iterator[Bar]:
    for store in _STORES:
        ours, theirs = (_median(samples, store, step, tool) for tool in (OURS, RESTIC))
        claim = f"{step}, {store}: at least {times:g} times as fast as restic"
        yield Bar(claim, f"{theirs / ours:.2f} times", theirs / ours >= times)


def _at_most(samples: Samples, step: str, tool: str, seconds: float) -> Iterator[Bar]:
    for store in _STORES:
        value = _median(samples, store, step, tool)
        claim = f"{step}, {store}, {tool}: at most {seconds:g} s"
        yield Bar(claim, f"{value:.3f} s", value <= seconds)


def _stored(samples: Samples, step: str, times: float) -> Iterator[Bar]:
    """Yield bars against restic's first write: it has no collection that compresses again."""
    for store in _STORES:
        value = samples.sizes[store, step, OURS] / samples.sizes[store, FIRST, RESTIC]
        claim = f"stored after the {step}, {store}: at most {times:g} times restic's"
        yield Bar(claim, f"{value:.3f} times", value <= times)


def _peak(samples: Samples) -> Bar:
    place = max(samples.peaks, key=lambda key: samples.peaks[key])
    most = samples.peaks[place]
    claim = f"most memory of any process of ours: at most {PEAK_BYTES / _MEGA:.0f} MB"
    return Bar(claim, f"{most / _MEGA:.0f} MB, {place[1]}, {place[0]}", most <= PEAK_BYTES)


def _open(samples: Samples) -> Bar:
    value = _median(samples, FOLDER, MILLION_OPEN, OURS)
    claim = f"1 000 000 entries, {MILLION_OPEN}: at most {OPEN_SECONDS:g} s"
    return Bar(claim, f"{value:.3f} s", value <= OPEN_SECONDS)


def why(samples: Samples) -> str:
    """Return what the steps that are compared spend their time with: how busy they keep the CPU."""
    busy = [
        f"{step}, {store}: ours {_load(samples, store, step, OURS)}, "
        f"restic {_load(samples, store, step, RESTIC)}"
        for step in (FIRST, RESTORE)
        for store in _STORES
    ]
    return f"Processors that were busy meanwhile, and CPU seconds: {'; '.join(busy)}."


def _load(samples: Samples, store: str, step: str, tool: str) -> str:
    costs = samples.costs[store, step, tool]
    cpu = spread(cost.cpu_seconds for cost in costs).median
    return f"{cpu / _median(samples, store, step, tool):.1f} ({cpu:.1f} s)"


# ── cells ────────────────────────────────────────────────────────────────────


def _median(samples: Samples, store: str, step: str, tool: str) -> float:
    return spread(cost.seconds for cost in samples.costs[store, step, tool]).median


def _seconds(samples: Samples, store: str, step: str, tool: str) -> str:
    return _range([cost.seconds for cost in samples.costs.get((store, step, tool), ())])


def _cpu(samples: Samples, store: str, step: str, tool: str) -> str:
    costs = samples.costs.get((store, step, tool), ())
    return _short(spread(cost.cpu_seconds for cost in costs).median) if costs else _NONE


def _size(samples: Samples, store: str, step: str, tool: str) -> str:
    size = samples.sizes.get((store, step, tool))
    return _NONE if size is None else f"{size / _MEGA:.0f}"


def _range(values: Sequence[float]) -> str:
    if not values:
        return _NONE
    found = spread(values)
    if len(values) == 1:
        return _short(found.median)
    return f"{_short(found.median)} ({_short(found.least)}–{_short(found.most)})"


def _short(seconds: float) -> str:
    """Return a number with three digits that mean something."""
    return (
        f"{seconds:.1f}"
        if seconds >= 10
        else f"{seconds:.2f}"
        if seconds >= 1
        else f"{seconds:.3f}"
    )
