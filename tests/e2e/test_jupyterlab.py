"""What a stranger does first: start it, log in, open the session, compute something."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.support.browser import new_page
from tests.support.live import ROOT, running_system

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.async_api import Page

pytestmark = pytest.mark.timeout(240)


async def compute(page: Page, code: str) -> None:
    """Open a notebook from the launcher and run one cell.

    JupyterLab shows a kernel as idle before it has one, and forgets what is run until then; so the
    kernel's own channel has to speak first.
    """
    async with page.expect_websocket(lambda socket: "/channels" in socket.url) as channel:
        await page.locator(".jp-LauncherCard", has_text="Python 3").first.click()
    await (await channel.value).wait_for_event("framereceived")
    cell = page.locator(".jp-NotebookPanel .jp-CodeCell .cm-content").first
    await cell.wait_for()
    await page.locator(".jp-Notebook-ExecutionIndicator[data-status='idle']").wait_for()
    await cell.click()
    await page.keyboard.type(code)
    await page.keyboard.press("Shift+Enter")


async def test_the_printed_links_lead_to_a_jupyterlab_that_computes(tmp_path: Path) -> None:
    async with running_system(tmp_path, "--demo") as live, new_page() as page:
        link = re.findall(r"http://studio\.localhost:\d+/login\S+", live.text)[0]
        session_url = re.findall(r"http://a[0-9a-f]{8}\.studio\.localhost:\d+/", live.text)[0]
        await page.goto(link)
        await page.get_by_role("button").first.click()
        await page.get_by_text("demo", exact=True).first.wait_for()
        await page.get_by_text("running").first.wait_for()
        await page.screenshot(path=tmp_path / "studios.png")

        await page.goto(session_url)
        await page.locator(".jp-Launcher").wait_for()
        await compute(page, 'print("six times seven is", 6 * 7)')
        output = page.locator(".jp-OutputArea-output", has_text="six times seven is 42")
        await output.wait_for()
        await page.screenshot(path=tmp_path / "jupyterlab.png")
        assert page.url.startswith(session_url)
    assert not live.agents()
    assert (ROOT / "docs/images/jupyterlab.png").stat().st_size > 10_000
