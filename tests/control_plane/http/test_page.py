"""The Studios page in a real browser, on a real control plane whose agents are played here."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from playwright.async_api import expect

from common.messages import RunPhase, VolumeStatus
from tests.support.open_page import CONTRAST, card, opened

if TYPE_CHECKING:
    from pathlib import Path


GB = 1024**3


async def test_a_studio_is_added_started_and_deleted_with_the_keyboard(folder: Path) -> None:
    async with opened(folder) as (plane, page, _):
        await page.get_by_role("button", name="Add your first Studio").press("Enter")
        await expect(page.get_by_label("Name", exact=True)).to_be_focused()
        await page.get_by_label("Name", exact=True).fill("Genomes")
        await expect(page.get_by_role("radio", name="JupyterLab")).to_be_checked()
        await page.get_by_role("button", name="Add only").press("Enter")
        demo = card(page, "Genomes")
        await expect(demo).to_contain_text("stopped")
        await expect(demo.get_by_role("heading")).to_be_focused()

        await page.get_by_role("button", name="Delete Genomes").press("Enter")
        await expect(page.get_by_role("button", name="Keep it")).to_be_focused()
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("button", name="Delete Genomes")).to_be_focused()
        await page.keyboard.press("Enter")
        await page.get_by_role("button", name="Delete", exact=True).press("Enter")
        await expect(demo).to_have_count(0)
        assert (await plane.admin.get("/api/studios")).body["totalSize"] == 0


async def test_phases_and_changes_by_others_show_as_they_happen(folder: Path) -> None:
    async with opened(folder) as (plane, page, _):
        session_id = await plane.add("demo")  # by somebody else: nobody touches the page
        demo = card(page, "demo")
        await demo.get_by_role("button", name="Start demo").click()
        await expect(demo).to_contain_text("starting")
        step = demo.get_by_role("listitem")
        await expect(step.first).to_have_attribute("data-status", "in-progress")
        number = await plane.mark_submitted(session_id)
        for sequence, phase in enumerate((RunPhase.STARTING, RunPhase.RUNNING), start=1):
            report = plane.report(session_id, run=number, sequence=sequence, phase=phase)
            await plane.agent(session_id, number).put("/api/agent/v1/status", report)
            if phase is RunPhase.STARTING:
                await expect(step.first).to_have_attribute("data-status", "succeeded")
        await expect(demo).to_contain_text("running")
        connect = demo.get_by_role("link", name="Connect to demo")
        await expect(connect).to_have_attribute("href", re.compile(f"^http://a{session_id}[.]"))
        await expect(page.locator("#announce")).to_contain_text("demo is running.")
        await demo.get_by_role("button", name="Extend demo").click()
        await expect(page.locator("#announce")).to_contain_text("Stops in")
        await demo.get_by_role("button", name="Stop demo").click()
        await expect(demo).to_contain_text("stopping")


async def test_how_full_the_disk_is_and_what_went_wrong_is_shown(folder: Path) -> None:
    async with opened(folder) as (plane, page, _):
        session_id = await plane.add("demo")
        number = await plane.start(session_id)
        agent, demo = plane.agent(session_id, number), card(page, "demo")

        async def say(sequence: int, *warnings: str, **volume: Any) -> None:
            report = plane.report(
                session_id,
                run=number,
                sequence=sequence,
                warnings=warnings,
                volume=VolumeStatus(limit_bytes=30 * GB, **volume),
            )
            assert (await agent.put("/api/agent/v1/status", report)).status == 200

        await say(1, size_bytes=2 * GB, free_bytes=GB * 3 // 2)
        await expect(demo).to_contain_text("Disk: 0.5 GB of 2 GB used, grows to 30 GB")
        warnings = demo.get_by_role("list", name="Warnings").get_by_role("listitem")
        await expect(warnings).to_have_count(0)
        killed = "The kernel ended python because memory ran out."
        await say(2, killed, size_bytes=2 * GB, free_bytes=GB * 3 // 2)
        await expect(warnings).to_have_text([killed])
        await expect(page.locator("#announce")).to_contain_text(f"demo: {killed}")
        await say(3, killed, size_bytes=30 * GB, free_bytes=0, full=True, message="it is full")
        await expect(demo).to_contain_text("Disk: 30 GB of 30 GB used, full")
        await expect(warnings).to_have_text([killed, "It is full."])
        for selector in (".volume", ".warnings li"):
            for scheme in ("dark", "light"):
                await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
                assert await page.locator(selector).first.evaluate(CONTRAST) >= 4.5


async def test_errors_are_shown_as_the_server_says_them(folder: Path) -> None:
    async with opened(folder) as (plane, page, _):
        await plane.add("taken")
        await page.get_by_role("button", name="Add a Studio").click()
        await page.get_by_label("Name", exact=True).fill("taken")
        await expect(page.locator("#add-name-problem")).to_contain_text("taken")
        await page.get_by_role("button", name="Add only").click()
        await expect(page.locator("#add-problem")).to_contain_text("taken")
        await page.keyboard.press("Escape")
        await plane.plane.parts.members.page_sessions.end(
            [cookie["value"] for cookie in await page.context.cookies() if "value" in cookie]
        )
        await page.get_by_role("button", name="Start taken").click()
        await page.wait_for_url("**/login?next=**")


async def test_the_address_of_a_stopped_session_leads_to_its_start_button(folder: Path) -> None:
    async with opened(folder) as (plane, page, url):
        session_id = await plane.add("wanted")
        await plane.add("other")
        await page.goto(f"{url}/?start={session_id}")
        await expect(page.get_by_role("button", name="Start wanted")).to_be_focused()
        await expect(page.locator(".highlight")).to_have_count(1)
        await page.goto(f"{url}/?start=0badcafe")
        await expect(page.get_by_role("alert").first).to_contain_text("isn’t here")


async def test_a_login_on_the_way_to_a_session_leads_there(folder: Path) -> None:
    """Browsers hold the form's redirects against `form-action`, too."""
    async with opened(folder) as (plane, page, url):
        session_id = await plane.add("demo")
        await page.context.clear_cookies()
        host = f"a{session_id}.{url.removeprefix('http://')}"
        await page.goto(f"{url}/connect/authorize?host={host}&return=/lab&state=nonce")
        token = plane.admin.headers["Authorization"].removeprefix("Bearer ")
        await page.get_by_label("API token").fill(token)
        await page.get_by_role("button", name="Log in").click()
        await page.wait_for_url(f"http://{host}/_connect/callback?code=*&return=%2Flab&state=nonce")


async def test_names_are_text_whatever_they_contain(folder: Path) -> None:
    async with opened(folder) as (plane, page, _):
        name = "<img src=x onerror=alert(1)>"
        await plane.add(name)
        await expect(card(page, name).get_by_role("heading")).to_have_text(name)
        assert await page.locator(".cards img").count() == 0


async def test_a_viewer_sees_no_buttons_that_would_be_refused(folder: Path) -> None:
    async with opened(folder) as (plane, page, _):
        await plane.add("demo")
        await plane.member("view")
        browser = await plane.browser("the-view")
        value = browser.headers["Cookie"].partition("=")[2]
        await page.context.clear_cookies()
        await page.context.add_cookies([{"name": "studio-page", "value": value, "url": page.url}])
        await page.reload()
        await expect(card(page, "demo")).to_be_visible()
        await expect(card(page, "demo").get_by_role("button")).to_have_count(0)
        await expect(page.get_by_role("button", name="Add a Studio")).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_text_stands_out_in_light_and_dark(folder: Path, scheme: str) -> None:
    async with opened(folder) as (plane, page, _):
        await plane.add("demo")
        await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        for selector in (".name", ".facts", ".pill", ".start", ".delete", ".count"):
            ratio = await page.locator(selector).first.evaluate(CONTRAST)
            assert ratio >= 4.5, (selector, ratio)  # WCAG 2.2, 1.4.3
