"""Tool templates: the facts in `images/<template>/template.toml`, and the tags of their images.

An image tag is `<tool version>[-u<n>]-<connect version>`, such as `4.2.5-0.7` or
`4.2.5-u1-0.7.1`: `u<n>` counts incompatible rebuilds of the same tool version, the connect version
is our agent's.
"""

from __future__ import annotations

import re
import tomllib
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from pathlib import Path

CONNECT_VERSION = (0, 1, 0)
"""The version of the agent in this tree, and so of the images built from it."""

_MINORS_BEHIND_MAX = 2
_TAG = re.compile(
    r"(?P<tool>\d+\.\d+\.\d+)(-u(?P<update>[1-9]\d*))?-(?P<major>\d+)\.(?P<minor>\d+)(\.(?P<patch>\d+))?",
    re.ASCII,
)


class InvalidTemplateError(ValueError):
    """A template.toml or an image tag that isn't one. The text names it and the field."""


class TemplateSupport(StrEnum):
    """How an image's agent stands to this control plane."""

    RECOMMENDED = "recommended"
    DEPRECATED = "deprecated"
    EXPERIMENTAL = "experimental"
    UNSUPPORTED = "unsupported"


class ImageTag(msgspec.Struct, frozen=True):
    """A parsed tag. `update` 0 means none; `patch` None means the moving `major.minor` tag."""

    tool_version: str
    update: int
    major: int
    minor: int
    patch: int | None

    def __str__(self) -> str:
        update = f"-u{self.update}" if self.update else ""
        patch = "" if self.patch is None else f".{self.patch}"
        return f"{self.tool_version}{update}-{self.major}.{self.minor}{patch}"


def parse_tag(text: str) -> ImageTag:
    """Return the parts of `text`, or raise InvalidTemplateError."""
    match = _TAG.fullmatch(text)
    if match is None:
        raise InvalidTemplateError(
            f"image tag {text!r} is not <tool version>[-u<n>]-<connect version>, like 4.2.5-0.7"
        )
    patch = match["patch"]
    return ImageTag(
        tool_version=match["tool"],
        update=int(match["update"] or 0),
        major=int(match["major"]),
        minor=int(match["minor"]),
        patch=None if patch is None else int(patch),
    )


def support(tag: ImageTag, current: tuple[int, int, int] = CONNECT_VERSION) -> TemplateSupport:
    """Say whether an image with this tag should still be offered."""
    if tag.major > current[0]:
        return TemplateSupport.UNSUPPORTED
    if tag.major < current[0] or current[1] - tag.minor > _MINORS_BEHIND_MAX:
        return TemplateSupport.DEPRECATED
    return TemplateSupport.RECOMMENDED


class TemplateFacts(
    msgspec.Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True
):
    """One template.toml. `command` starts the tool; see `session_spec.ToolSpec.command`."""

    name: str
    title: str
    tool: str
    icon: str
    tag: str
    port: int
    command: tuple[str, ...]
    readiness_path: str = "/"
    activity: Literal["none", "jupyter"] = "none"
    collaboration: bool = True
    environment: dict[str, str] = {}


def parse_facts(text: str, *, source: str) -> TemplateFacts:
    """Parse one template.toml; `source` names it in errors."""
    try:
        facts = msgspec.convert(tomllib.loads(text), TemplateFacts)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise InvalidTemplateError(f"{source}: {error}") from None
    parse_tag(facts.tag)
    return facts


def load_templates(images: Path) -> dict[str, TemplateFacts]:
    """Read every `images/*/template.toml`; the key is the template's name."""
    found = {}
    for path in sorted(images.glob("*/template.toml")):
        facts = parse_facts(path.read_text(encoding="utf-8"), source=str(path))
        if facts.name != path.parent.name:
            raise InvalidTemplateError(f"{path}: name {facts.name!r} is not its folder's name")
        found[facts.name] = facts
    return found
