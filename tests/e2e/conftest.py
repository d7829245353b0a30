"""One system with one running Studio for all tests of a module that only use it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from yarl import URL

from tests.support.live import Live, running_system

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import aiohttp


@dataclass
class Signed:
    """A person signed in at a running JupyterLab session, as their browser would be."""

    live: Live
    session_id: str
    http: aiohttp.ClientSession
    cookie: str

    @property
    def url(self) -> str:
        return self.live.session_url(self.session_id).rstrip("/")

    @property
    def fields(self) -> dict[str, str]:
        """What JupyterLab's own page sends with every change."""
        jar = self.http.cookie_jar.filter_cookies(URL(self.url))
        return {"Origin": self.url, "X-XSRFToken": jar["_xsrf"].value}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> object:
    return tmp_path_factory.mktemp("system")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def signed(folder: object) -> AsyncIterator[Signed]:
    async with running_system(folder) as live:  # type: ignore[arg-type]
        session_id = await live.add("traffic")
        async with live.http() as http:
            cookie = await live.sign_in(http, session_id)
            yield Signed(live, session_id, http, cookie)
