"""RESULTS.md: one section per benchmark, replaced in place. Rendering is pure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from bench.machine import Machine

RESULTS = Path(__file__).with_name("RESULTS.md")
_TITLE = """# Results

What the benchmarks gave when they last ran. Each section is replaced as a whole by the command it
names; `docs/benchmarks.md` says what is measured and how.
"""


@dataclass(frozen=True, slots=True)
class Bar:
    """A number to reach, and what was."""

    claim: str
    value: str
    is_met: bool

    def line(self) -> str:
        return f"- {'met' if self.is_met else '**missed**'}: {self.claim} ({self.value})"


@dataclass(frozen=True, slots=True)
class Findings:
    """What a benchmark has to say. `reason` is shown when a bar is missed; there may be none."""

    title: str
    parts: Sequence[str]
    bars: Sequence[Bar]
    reason: str


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where the numbers come from."""

    command: str
    finished: datetime
    machine: Machine
    versions: str

    def lines(self) -> str:
        return (
            f"`{self.command}`, {self.finished:%Y-%m-%d %H:%M} UTC.\n"
            f"Machine: {self.machine.sentence()}.\n"
            f"Versions: {self.versions}."
        )


def section(findings: Findings, provenance: Provenance) -> str:
    """Return a section of the document."""
    parts = [f"## {findings.title}", provenance.lines(), *findings.parts]
    if findings.bars:
        parts.append("\n".join(bar.line() for bar in findings.bars))
    if not all(bar.is_met for bar in findings.bars):
        parts.append(findings.reason)
    return "\n\n".join(parts) + "\n"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; the first column is text, the others are numbers."""
    rules = ["---", *("---:" for _ in header[1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, rules, *rows))


def replaced(document: str, key: str, text: str) -> str:
    """Return `document` with the section of `key` replaced by `text`, or added at the end."""
    begin, end = f"<!-- {key} -->\n", f"<!-- end of {key} -->\n"
    before, found, rest = (document or _TITLE).partition(begin)
    if not found:
        return f"{before.rstrip()}\n\n{begin}{text}{end}"
    _, _, after = rest.partition(end)
    return f"{before}{begin}{text}{end}{after}"


def publish(path: Path, key: str, text: str) -> None:
    """Put the section into the document at `path`, which need not be there yet."""
    document = path.read_text(encoding="utf-8") if path.exists() else ""
    path.write_text(replaced(document, key, text), encoding="utf-8")
