"""RESULTS.md keeps one section for each benchmark."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from bench.machine import Machine
from bench.results import Bar, Findings, Provenance, publish, replaced, section, table
from bench.spread import percentile, spread

if TYPE_CHECKING:
    from pathlib import Path

MACHINE = Machine(processor="Z80", cores=2, memory_gib=8.0, kernel="6.1", load=0.04)


def test_a_new_section_goes_to_the_end() -> None:
    document = replaced(replaced("", "proxy", "one\n"), "transfer", "two\n")
    assert document.startswith("# Results\n")
    assert document.index("one") < document.index("two")


def test_a_section_is_replaced_where_it_is_and_the_others_stay() -> None:
    document = replaced(replaced(replaced("", "a", "one\n"), "b", "two\n"), "c", "three\n")
    again = replaced(document, "b", "new\n")
    assert again == document.replace("two", "new")
    assert replaced(again, "b", "two\n") == document


def test_publishing_twice_leaves_one_section(tmp_path: Path) -> None:
    path = tmp_path / "RESULTS.md"
    publish(path, "proxy", "first\n")
    publish(path, "proxy", "second\n")
    text = path.read_text(encoding="utf-8")
    assert "first" not in text
    assert text.count("second") == 1


def test_a_section_says_where_its_numbers_come_from_and_what_was_missed() -> None:
    provenance = Provenance(
        "python -m bench proxy", datetime(2030, 1, 1, 12, 30, tzinfo=UTC), MACHINE, "nginx 1.22"
    )
    fast, small = Bar("fast", "2×", is_met=True), Bar("small", "9 MB", is_met=False)
    text = section(Findings("Title", ["Words."], [fast, small], "Too big."), provenance)
    for expected in ("2030-01-01 12:30 UTC", "2 cores of Z80", "Linux 6.1", "nginx 1.22", "Words."):
        assert expected in text
    assert "- met: fast (2×)\n- **missed**: small (9 MB)\n\nToo big.\n" in text
    assert "Too big." not in section(Findings("Title", [], [fast], "Too big."), provenance)


def test_a_table_has_a_rule_below_its_header() -> None:
    assert table(("way", "rate"), [("nginx", "1")]).splitlines() == [
        "| way | rate |",
        "| --- | ---: |",
        "| nginx | 1 |",
    ]


def test_spread_is_median_least_and_most() -> None:
    values = spread([3.0, 1.0, 100.0])
    assert (values.median, values.least, values.most) == (3.0, 1.0, 100.0)


@pytest.mark.parametrize("part", [0.0, 0.01, 0.5, 0.99, 1.0])
def test_a_percentile_is_the_smallest_value_that_covers_its_part(part: float) -> None:
    rng = random.Random(7)
    for size in (1, 2, 3, 99, 100, 101):
        ordered = sorted(rng.randrange(50) for _ in range(size))
        covered = [value for value in ordered if sum(v <= value for v in ordered) >= part * size]
        assert percentile(ordered, part) == min(covered)
