"""What takes minutes waits until it is asked for: `pytest -m soak`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "soak" in config.option.markexpr:
        return
    waiting = [
        item
        for item in items
        if item.get_closest_marker("soak") and "tests/checkpoints/" in item.nodeid
    ]
    config.hook.pytest_deselected(items=waiting)
    items[:] = [item for item in items if item not in waiting]
