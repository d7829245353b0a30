"""A client's connection and the tool behind it, for tests of what happens between."""

from __future__ import annotations

import pytest

from tests.support.conversation import Conversation, FakeSite


@pytest.fixture
async def talk() -> Conversation:
    return Conversation(FakeSite())
