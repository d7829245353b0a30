"""Every package is a map of itself, and its modules have names that say something."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.support.tree import PROGRAMS, ROOT, files, text

LINES_MAX = 350
EMPTY_WORDS = ("util", "utils", "helper", "helpers", "manager", "managers", "misc", "stuff")
CODE_SUFFIXES = {".py", ".js", ".css", ".html", ".sh", ""}

PYTHON = [path for path in files() if path.suffix == ".py"]
PACKAGES = sorted(
    path.parent
    for path in PYTHON
    if path.name == "__init__.py" and path.parts[0] in (*PROGRAMS, "tests")
)


def contents(package: Path) -> set[str]:
    """Return the names of modules, packages and folders of data directly in a package."""
    inside = [path.relative_to(package) for path in files() if package in path.parents]
    modules = {path.stem for path in inside if len(path.parts) == 1 and path.suffix == ".py"}
    folders = {path.parts[0] for path in inside if len(path.parts) > 1}
    return (modules | folders) - {"__init__"}


def docstring(package: Path) -> str:
    return ast.get_docstring(ast.parse(text(package / "__init__.py"))) or ""


@pytest.mark.parametrize("package", PACKAGES, ids=str)
def test_a_packages_init_is_a_docstring_and_no_logic(package: Path) -> None:
    body = ast.parse(text(package / "__init__.py")).body
    assert len(body) == 1
    assert docstring(package)


@pytest.mark.parametrize("package", [p for p in PACKAGES if p != Path("tests")], ids=str)
def test_a_packages_map_names_every_module_and_only_existing_ones(package: Path) -> None:
    doc = docstring(package)
    named = {name.rstrip("/") for name in re.findall(r"`([\w./]+)`", doc)}
    listed = re.findall(r"^- `([\w./-]+)`", doc, re.MULTILINE)
    # `__main__` is what `python -m` runs, and folders of data may go without saying.
    modules = {name for name in contents(package) if is_code(package / name)} - {"__main__"}
    assert modules - named == set(), "not on the map"
    missing = [
        name
        for name in listed
        if not (ROOT / package / name).exists() and not (ROOT / package / f"{name}.py").exists()
    ]
    assert missing == [], "on the map, but not there"


def is_code(path: Path) -> bool:
    return (ROOT / path).with_suffix(".py").is_file() or (ROOT / path / "__init__.py").is_file()


@pytest.mark.parametrize("package", [p for p in PACKAGES if p != Path("tests")], ids=str)
def test_a_packages_map_says_where_to_start(package: Path) -> None:
    start = re.search(r"\*\*Start here:?\*\*:?[^`]*`([\w./]+)`", docstring(package))
    if package.parts[0] == "tests":
        assert "**Start here" in docstring(package)
        return
    assert start is not None
    assert re.split(r"[./]", start[1])[0] in contents(package)


def test_every_folder_of_code_in_a_program_is_a_package() -> None:
    folders = {path.parent for path in PYTHON if path.parts[0] in PROGRAMS}
    # Alembic loads migrations by path.
    unmapped = {f for f in folders - set(PACKAGES) if "migrations" not in f.parts}
    assert unmapped == set()


@pytest.mark.parametrize(
    "path",
    [p for p in files() if p.suffix in CODE_SUFFIXES and p.name != "LICENSE"],
    ids=str,
)
def test_a_file_of_code_can_be_read_in_one_sitting(path: Path) -> None:
    assert len(text(path).splitlines()) <= LINES_MAX


@pytest.mark.parametrize("path", PYTHON, ids=str)
def test_a_module_is_named_after_something(path: Path) -> None:
    words = [word for part in (*path.parts[:-1], path.stem) for word in part.split("_")]
    assert not set(words) & set(EMPTY_WORDS)
