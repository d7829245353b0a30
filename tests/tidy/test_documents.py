"""Documents lead where they say, and every command they show exists."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from studios.__main__ import COMMANDS, cli
from tests.support.tree import ROOT, files, text

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCUMENTS = [path for path in files() if path.suffix == ".md"]


def relative_links(document: Path) -> Iterator[tuple[str, str]]:
    for target in re.findall(r"\]\(([^)\s]+)\)", text(document)):
        if not re.match(r"[a-z]+:", target):
            path, _, anchor = target.partition("#")
            yield path, anchor


def anchors(document: Path) -> set[str]:
    """Return the anchors that headings get: lower case, spaces as hyphens, no punctuation."""
    headings = re.findall(r"^#+ (.*)$", text(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    for path, anchor in relative_links(document):
        target = (ROOT / document.parent / path).resolve() if path else ROOT / document
        assert target.exists(), path
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target.relative_to(ROOT)), f"{path}#{anchor}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_make_commands_in_documents_exist(document: Path) -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", text(Path("Makefile")), re.MULTILINE))
    shown = set(re.findall(r"(?:`|^ *)make ([a-z][a-z-]*)", text(document), re.MULTILINE))
    assert shown - targets == set()


@pytest.mark.parametrize("document", [Path("README.md"), Path("CONTRIBUTING.md")], ids=str)
def test_studios_commands_in_documents_exist(document: Path) -> None:
    shown = re.findall(r"(?:`|^ *)(?:\.venv/bin/)?studios ([^`\n]*)", text(document), re.MULTILINE)
    for words in shown:
        command: click.Command = cli
        for word in words.split():
            if not isinstance(command, click.Group) or not re.fullmatch(r"[a-z]+", word):
                break
            inner = command.get_command(click.Context(command), word)
            assert inner is not None, words
            command = inner


def test_the_two_commands_come_first() -> None:
    first_screen = "\n".join(text(Path("README.md")).splitlines()[:20])
    commands = re.findall(r"^ *(make [a-z]+)", first_screen, re.MULTILINE)
    assert commands == ["make run", "make test"]


def test_every_command_is_in_the_readme() -> None:
    readme = text(Path("README.md"))
    assert [name for name in COMMANDS if f"studios {name}" not in readme] == []


def test_the_changelog_knows_this_version() -> None:
    version = tomllib.loads(text(Path("pyproject.toml")))["project"]["version"]
    assert f"## {version}" in text(Path("CHANGELOG.md"))
