"""Findings as lines for people, where there is no `studios doctor`: in a container. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.findings import Verdict, flags

if TYPE_CHECKING:
    from collections.abc import Iterator

    from common.findings import Findings

_MARKS = {Verdict.OK: "✓", Verdict.WEAKER: "!", Verdict.MISSING: "✗"}


def lines(found: Findings) -> Iterator[str]:
    for finding in found.findings:
        yield f"{_MARKS[finding.verdict]} {finding.need}: for {finding.purpose}"
        if finding.problem:
            loss = f": {finding.loss}" if finding.loss else ""
            yield f"    {finding.problem}{loss}"
            yield f"    → {found.remedy(finding)}"
    if together := flags(found):
        yield f"All of it: {together}"
