"""A browser on the Studios page of a real control plane whose agents are played by tests."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from playwright.async_api import expect

from tests.support.browser import new_page
from tests.support.plane import Plane, open_test_plane

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from playwright.async_api import Locator, Page

    from control_plane.config import ControlPlaneConfig

CONTRAST = """element => {
  const rgb = text => text.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => [r, g, b].map(c => c / 255)
    .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  let ground = element;
  while (ground && (rgb(getComputedStyle(ground).backgroundColor)[3] ?? 1) === 0) {
    ground = ground.parentElement;
  }
  const colors = [getComputedStyle(element).color, getComputedStyle(ground).backgroundColor];
  const [a, b] = colors.map(rgb).map(luminance).sort((x, y) => y - x);
  return (a + 0.05) / (b + 0.05);
}"""
"""The contrast of an element's text with its ground, as WCAG 2.2 counts it; 4.5 is enough."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[tuple[Plane, Page, str]]:
    """Yield a control plane, a logged-in browser on its page, and the page's address."""
    domain = f"studio.localhost:{free_port()}"

    def listening(config: ControlPlaneConfig) -> ControlPlaneConfig:
        port = int(domain.rpartition(":")[2])
        return replace(config, public_url=f"http://{domain}", connect_domain=domain, port=port)

    async with open_test_plane(folder, listening) as plane, new_page() as page:
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda told: problems.extend([told.text] * (told.type == "error")))
        await page.goto(await plane.plane.login.login_link((await plane.owner()).id))
        await page.get_by_role("button", name="Log in").click()
        await expect(page.get_by_role("status")).to_have_text("Live")
        yield plane, page, f"http://{domain}"
        refused = "the server responded with a status of 4"  # Chromium logs each as an error
        assert [problem for problem in problems if refused not in problem] == []


def card(page: Page, name: str) -> Locator:
    return page.get_by_role("article", name=name)
