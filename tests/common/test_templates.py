"""Template facts and image tags."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, strategies as st

from common.templates import (
    ImageTag,
    InvalidTemplateError,
    TemplateSupport,
    load_templates,
    parse_facts,
    parse_tag,
    support,
)

if TYPE_CHECKING:
    from collections.abc import Callable

IMAGES = Path(__file__).parents[2] / "images"

FACTS = """
name = "t"
title = "T"
tool = "T"
icon = "t"
tag = "1.2.3-0.1"
port = 8080
command = ["start"]
"""


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("4.2.5-0.7", ImageTag("4.2.5", 0, 0, 7, None)),
        ("4.2.5-0.7.1", ImageTag("4.2.5", 0, 0, 7, 1)),
        ("4.2.5-u1-0.7", ImageTag("4.2.5", 1, 0, 7, None)),
        ("4.2.5-u12-0.7.0", ImageTag("4.2.5", 12, 0, 7, 0)),
    ],
)
def test_a_tag_is_parsed_and_built_again(text: str, tag: ImageTag) -> None:
    assert parse_tag(text) == tag
    assert str(tag) == text


@pytest.mark.parametrize(
    "text", ["", "latest", "4.2-0.7", "4.2.5", "4.2.5-u0-0.7", "4.2.5-0.7.1.2", "٤.2.5-0.7"]
)
def test_anything_else_is_no_tag(text: str) -> None:
    with pytest.raises(InvalidTemplateError, match="image tag"):
        parse_tag(text)


numbers = st.integers(0, 99)


@given(st.tuples(numbers, numbers, numbers), numbers, numbers, numbers, st.none() | numbers)
def test_every_tag_round_trips(
    tool: tuple[int, int, int], update: int, major: int, minor: int, patch: int | None
) -> None:
    tag = ImageTag(".".join(map(str, tool)), update, major, minor, patch)
    assert parse_tag(str(tag)) == tag


def test_an_image_is_offered_until_its_agent_is_more_than_two_minors_behind() -> None:
    current = (1, 5, 0)

    def of(connect: str) -> TemplateSupport:
        return support(parse_tag(f"1.0.0-{connect}"), current)

    assert of("1.5") is TemplateSupport.RECOMMENDED
    assert of("1.3") is TemplateSupport.RECOMMENDED
    assert of("1.2") is TemplateSupport.DEPRECATED
    assert of("0.9") is TemplateSupport.DEPRECATED
    assert of("2.0") is TemplateSupport.UNSUPPORTED


def test_every_template_of_ours_is_valid() -> None:
    assert "jupyterlab" in load_templates(IMAGES)


def test_a_template_is_named_like_its_folder(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "template.toml").write_text(FACTS)
    with pytest.raises(InvalidTemplateError, match="folder"):
        load_templates(tmp_path)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda text: text.replace("8080", '"x"'), "port"),
        (lambda text: text + "colour = 1\n", "colour"),
        (lambda text: text + "= 1", "x.toml"),
        (lambda text: text.replace("1.2.3-0.1", "new"), "image tag"),
        (lambda text: text + 'activity = "guess"\n', "activity"),
    ],
)
def test_wrong_facts_are_refused_naming_what_is_wrong(
    change: Callable[[str], str], named: str
) -> None:
    with pytest.raises(InvalidTemplateError, match=named):
        parse_facts(change(FACTS), source="x.toml")
