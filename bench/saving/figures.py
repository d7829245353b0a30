"""What was measured as tables, and which bars were met. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.results import Bar, Findings, table
from bench.saving.deeds import SYNC_EVERY_MS, WRITE_EVERY_MS
from bench.saving.samples import (
    BY_RESTIC,
    BY_TAR,
    BYSTANDER,
    CASES,
    FOLDER,
    LOOP,
    OURS,
    RESTIC,
    S3,
    SYNCS,
    TAR,
    WRITES,
)
from bench.saving.ticker import TICK_SECONDS
from bench.spread import spread

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.saving.notes import Pause
    from bench.saving.samples import Restart, Samples, Saving

LOOP_SECONDS = 0.05
IDLE_BYTES = 100_000_000

_MEGA = 1_000_000
_NONE = "–"
_STORES = (FOLDER, S3)
_PEERS_WORK = {BY_RESTIC, BY_TAR}
_WHO = (WRITES, SYNCS, LOOP, BYSTANDER)
_PEERS = {FOLDER: (RESTIC, TAR), S3: (RESTIC,)}


def findings(samples: Samples, rounds: int) -> Findings:
    """Return the section."""
    return Findings("Saving", sections(samples, rounds), bars(samples), why(samples))


def sections(samples: Samples, rounds: int) -> list[str]:
    """Return the section's paragraphs and tables."""
    return [
        "Whole sessions, saved while they go on to a folder on the machine's disk, or behind "
        f"`rclone serve s3` on the same disk. Medians of {rounds} rounds, in brackets least and "
        "most.",
        f"Who is held up, in ms: a program in the session that writes 4 KiB every {WRITE_EVERY_MS} "
        f"ms, one that writes and fsyncs 4 KiB every {SYNC_EVERY_MS} ms, and the agent's event "
        f"loop, by a ticker of {TICK_SECONDS * 1000:.0f} ms. The same ticker in a process that "
        "does nothing else, a bystander, tells what the machine does to everybody. Gaps between "
        "one time and the next, these intervals included: what 99.9 % don't exceed, and the "
        "longest.",
        _pauses(samples),
        "What users do, saved after it. Seconds are until it is safe; of those, *finding* is the "
        "snapshot and the search for what changed; *over* is when its snapshot is gone as well. "
        "MB are what the store grew by. restic and tar save the same folder, in the page cache, "
        "with all that was there before; tar writes all of it each time.",
        *(_savings(samples, store) for store in _STORES),
        "Stopped with so much written since the start, a fifth of it files of 20 KB, the rest of "
        "8 MB, nothing of it saved before; and started again, in seconds. In this version a start "
        "restores everything before the tool begins.",
        _restarts(samples),
        "Memory of all of an agent's processes, in MB; peaks are each process's own, added up:",
        _memory(samples),
    ]


def _pauses(samples: Samples) -> str:
    rows = list(dict.fromkeys((store, during) for store, during, _ in samples.pauses))
    header = [f"{who}, {what}" for who in _WHO for what in ("99.9 %", "longest")]
    return table(
        ("meanwhile", "store", *header),
        [
            (
                during,
                store,
                *(cell for who in _WHO for cell in _pause_cells(samples, (store, during, who))),
            )
            for store, during in sorted(rows, key=lambda row: _STORES.index(row[0]))
        ],
    )


def _pause_cells(samples: Samples, key: tuple[str, str, str]) -> tuple[str, str]:
    found = samples.pauses.get(key)
    if not found:
        return _NONE, _NONE
    return (
        _ms([each.most_of_all_seconds for each in found]),
        _ms([each.longest_seconds for each in found]),
    )


def _savings(samples: Samples, store: str) -> str:
    peers = _PEERS[store]
    header = ("ours, s", "finding, s", "over, s", "MB")
    return table(
        (
            f"to {'a folder' if store == FOLDER else store}",
            *header,
            *(f"{peer}, {unit}" for peer in peers for unit in ("s", "MB")),
        ),
        [
            (
                case,
                *_our_cells(samples.savings[store, case, OURS]),
                *(
                    cell
                    for peer in peers
                    for cell in _peer_cells(samples.savings.get((store, case, peer)))
                ),
            )
            for case in CASES
            if (store, case, OURS) in samples.savings
        ],
    )


def _our_cells(found: Sequence[Saving]) -> tuple[str, ...]:
    return (
        _range([each.seconds for each in found]),
        f"{_median(each.finding_seconds for each in found):.3f}",
        f"{_median(each.whole_seconds for each in found):.3f}",
        _mega(found),
    )


def _peer_cells(found: Sequence[Saving] | None) -> tuple[str, str]:
    if not found:
        return _NONE, _NONE
    return f"{_median(each.seconds for each in found):.2f}", _mega(found)


def _restarts(samples: Samples) -> str:
    return table(
        (
            "MB of files",
            "store",
            "stop",
            "start",
            "more than with none",
            "of that, restoring",
            "stop, nothing changed",
        ),
        [
            (
                f"{megabytes}",
                store,
                _range([each.stop_seconds for each in found]),
                _range([each.start_seconds for each in found]),
                f"{_started(found) - _started(samples.restarts[store, 0]):+.2f}",
                f"{_median(each.restore_seconds for each in found):.2f}",
                f"{_median(each.next_stop_seconds for each in found):.2f}",
            )
            for (store, megabytes), found in sorted(
                samples.restarts.items(), key=lambda item: (_STORES.index(item[0][0]), item[0][1])
            )
        ],
    )


def _memory(samples: Samples) -> str:
    rows = [
        (
            "at rest, after two times that nothing had changed",
            f"{_median(each.resident for each in samples.idle) / _MEGA:.1f}",
            f"{_median(each.proportional for each in samples.idle) / _MEGA:.1f}",
        ),
        *(
            (f"peak, {what}", f"{_median(found) / _MEGA:.1f}", _NONE)
            for what, found in samples.peaks.items()
        ),
    ]
    return table(("when", "RSS", "PSS"), rows)


# ── bars ─────────────────────────────────────────────────────────────────────


def bars(samples: Samples) -> list[Bar]:
    """Return what was to be reached, and whether it was."""
    found = []
    for during in dict.fromkeys(during for _, during, _ in _loop(samples)):
        worst = max(seconds for _, what, seconds in _loop(samples) if what == during)
        claim = f"the agent's loop stands still for at most {LOOP_SECONDS * 1000:.0f} ms: {during}"
        found.append(Bar(claim, f"{worst * 1000:.0f} ms at worst", worst <= LOOP_SECONDS))
    most = max(each.resident for each in samples.idle)
    claim = f"at most {IDLE_BYTES / _MEGA:.0f} MB in all of an agent's processes at rest"
    return [*found, Bar(claim, f"{most / _MEGA:.1f} MB", most <= IDLE_BYTES)]


def why(samples: Samples) -> str:
    """Return where the loop stood still for longest, and what a bystander felt there and ever."""
    store, during, seconds = max(_loop(samples), key=lambda found: found[2])
    there = samples.pauses.get((store, during, BYSTANDER), ())
    anywhere = [each for _, _, each in _loop(samples, BYSTANDER)]
    return (
        f"The loop's longest gap was {seconds * 1000:.0f} ms ({during}, {store}); a bystander's "
        f"was {_longest(there) * 1000:.0f} ms there, {max(anywhere, default=0.0) * 1000:.0f} ms "
        "anywhere."
    )


def _loop(samples: Samples, whose: str = LOOP) -> Iterator[tuple[str, str, float]]:
    """Yield store, what went on, and the longest gap of all rounds.

    Not while a peer worked: it takes the machine as anybody does, and ours gives way.
    """
    for (store, during, who), found in samples.pauses.items():
        if who == whose and during not in _PEERS_WORK:
            yield store, during, _longest(found)


def _longest(found: Sequence[Pause]) -> float:
    return max((each.longest_seconds for each in found), default=0.0)


# ── how numbers are written ──────────────────────────────────────────────────


def in_short(samples: Samples, store: str) -> Iterator[str]:
    """Yield lines of what a round gave last."""
    for (where, during, who), pauses in samples.pauses.items():
        if where == store:
            most, longest = (each * 1000 for each in pauses[-1])
            yield f"{during}: {who} 99.9 % {most:.1f} ms, longest {longest:.1f} ms"
    for (where, case, tool), savings in samples.savings.items():
        if where == store:
            last = savings[-1]
            yield f"{case}: {tool} {last.seconds:.3f} s, {last.stored_bytes / _MEGA:.2f} MB"


def _started(found: Sequence[Restart]) -> float:
    return _median(each.start_seconds for each in found)


def _median(values: Iterator[float] | Sequence[float]) -> float:
    return spread(values).median


def _mega(found: Sequence[Saving]) -> str:
    return f"{_median(each.stored_bytes for each in found) / _MEGA:.2f}"


def _ms(seconds: Sequence[float]) -> str:
    found = spread(each * 1000 for each in seconds)
    return f"{found.median:.1f} ({found.least:.1f}–{found.most:.1f})"


def _range(seconds: Sequence[float]) -> str:
    found = spread(seconds)
    return f"{found.median:.2f} ({found.least:.2f}–{found.most:.2f})"
