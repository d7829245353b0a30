"""Nothing in the tree belongs to one machine or one network, and requirements are locked."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.support.tree import files, text

if TYPE_CHECKING:
    from pathlib import Path

# In pieces, so that this file doesn't contain them.
INDEX_HOSTS = [
    "pypi" + ".org",
    "python" + "hosted",
    "npm" + "js.org",
    "npm" + "js.com",
    "deb.deb" + "ian.org",
    "conda" + ".anaconda",
    "artif" + "actory",
    "--" + "index-url",
    "--" + "find-links",
    "--" + "trusted-host",
]
FOREIGN = re.compile(
    "|".join(
        [
            r"/home" + r"/[a-z]\w+/",
            r"/Us" + r"ers/[A-Za-z]",
            r"(?<![\w.])/work" + r"/(main|shared)",
            r"/tmp" + r"/brief",
            r"\.\./sha" + r"red",
        ]
    )
)
MAKES_LOCKS = "scripts/lock"
"""Names the options that keep index addresses out of what it writes."""

REQUIREMENTS = [
    path
    for path in files()
    if path.suffix == ".txt" and ("requirements" in path.name or path.parts[0] == "requirements")
]


@pytest.mark.parametrize("host", INDEX_HOSTS)
def test_no_file_names_a_package_index(host: str) -> None:
    found = [path for path in files() if host in text(path) and str(path) != MAKES_LOCKS]
    assert found == []


def test_no_file_knows_a_developers_machine() -> None:
    found = [f"{path}: {match[0]}" for path in files() for match in FOREIGN.finditer(text(path))]
    assert found == []


def test_there_are_requirements_to_check() -> None:
    assert len(REQUIREMENTS) >= 3


@pytest.mark.parametrize("path", REQUIREMENTS, ids=str)
def test_every_requirement_is_exact_and_hashed(path: Path) -> None:
    logical_lines = text(path).replace("\\\n", " ").splitlines()
    requirements = [line for line in logical_lines if line and not line.lstrip().startswith("#")]
    assert requirements
    loose = [
        line.split(" ")[0]
        for line in requirements
        if not re.match(r"[A-Za-z0-9._\[\],-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", line)
    ]
    assert loose == []
    assert "://" not in text(path)


def test_npm_locks_have_no_addresses() -> None:
    locks = [path for path in files() if path.name == "package-lock.json"]
    assert [path for path in locks if "://" in text(path).replace('"url": "https://', "")] == []
