"""Checkpoints on the Studios page, in a real browser; what their agents say is played here."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from checkpoints.storage.opening import REPOSITORY_FOLDER
from common.messages import CheckpointPhase, RunPhase, StepState, StopStepStatus
from tests.control_plane.http.test_checkpoints import ended, running, say, shown
from tests.control_plane.http.test_files import LONG, stored
from tests.support.open_page import CONTRAST, card, opened

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.async_api import Locator, Page


async def dialog(page: Page, name: str = "demo") -> Locator:
    """Open the list of a Studio's checkpoints."""
    await page.get_by_role("button", name=f"Checkpoints of {name}").press("Enter")
    found = page.get_by_role("dialog", name=f"Checkpoints of {name}")
    await expect(found.get_by_role("list", name="Checkpoints")).to_have_attribute(
        "aria-busy", "false"
    )
    return found


async def test_a_card_says_how_old_the_saved_files_are_and_why(folder: Path) -> None:
    async with opened(folder) as (plane, page, _):
        await page.clock.install()
        await page.reload()
        session_id = await running(plane)
        age = card(page, "demo").locator(".age")
        await expect(age).to_have_text("Nothing saved yet")
        await say(plane, session_id, 1)
        now = plane.clock.now()
        await page.clock.pause_at(now + timedelta(minutes=10))
        await plane.clock.advance(1)
        await say(plane, session_id, 1, message="The bucket doesn't answer")
        await expect(age).to_have_text("Saved 9 min ago")
        warnings = card(page, "demo").get_by_role("list", name="Warnings")
        await expect(warnings).to_be_hidden()
        await page.clock.pause_at(now + timedelta(minutes=12))
        await expect(warnings).to_contain_text("in the last 11 min is not saved. The bucket")
        await expect(warnings).to_contain_text("It is tried again by itself.")
        await expect(age).to_have_class(re.compile("late"))
        for scheme in ("dark", "light"):
            await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
            assert await age.evaluate(CONTRAST) >= 4.5


async def test_saving_now_shows_that_it_goes_on_and_what_came_of_it(folder: Path) -> None:
    async with opened(folder) as (plane, page, _):
        session_id = await running(plane)
        await say(plane, session_id, 1)
        list_ = await dialog(page)
        status = list_.get_by_role("status")
        await list_.get_by_role("button", name="Save now").press("Enter")
        await expect(status).to_have_text("Saving…")
        asked = plane.clock.now()
        await plane.clock.advance(2)
        await say(plane, session_id, 1, message="The disk is slow")
        await expect(status).to_have_text(
            "Not saved yet: The disk is slow. It is tried again by itself."
        )
        await plane.clock.advance(2)
        await say(plane, session_id, 2, answered_request_at=asked)
        await expect(status).to_contain_text("is safe.")
        await expect(list_.get_by_role("listitem")).to_contain_text("generation 2")
        await ended(plane, session_id)
        await page.reload()
        list_ = await dialog(page)
        await expect(list_.get_by_role("button", name="Save now")).to_be_hidden()


async def test_a_clash_of_names_is_said_where_the_name_is(folder: Path) -> None:
    async with opened(folder) as (plane, page, _):
        session_id = await running(plane)
        await say(plane, session_id, 1, phase=CheckpointPhase.FINALIZED)
        await ended(plane, session_id)
        first = (await shown(plane, session_id))["name"]
        await plane.run(session_id)
        await plane.clock.advance(1)
        await say(plane, session_id, 1, run=2)
        second = (await shown(plane, session_id))["name"]
        list_ = await dialog(page)
        await expect(list_.get_by_role("listitem")).to_have_count(2)
        await expect(list_.get_by_role("listitem").first).to_contain_text("latest")
        rename = list_.get_by_role("button", name=f"Rename {second}")
        await rename.press("Enter")
        field = list_.get_by_role("textbox", name=f"New name of {second}")
        await expect(field).to_be_focused()
        await field.press("Escape")
        await expect(rename).to_be_focused()  # and the dialog is still open
        await rename.press("Enter")
        await field.fill(first)
        await field.press("Enter")
        await expect(list_.get_by_role("alert").last).to_contain_text("choose another name")
        await expect(field).to_have_attribute("aria-invalid", "true")
        await field.fill("before the upgrade")
        await field.press("Enter")
        await expect(list_.get_by_role("heading", name="before_the_upgrade")).to_be_visible()
        await expect(list_.get_by_role("button", name="Rename before_the_upgrade")).to_be_focused()


async def test_a_studio_begins_with_a_checkpoint(folder: Path) -> None:
    async with opened(folder) as (plane, page, _):
        session_id = await running(plane)
        await say(plane, session_id, 1)
        name = (await shown(plane, session_id))["name"]
        list_ = await dialog(page)
        new = list_.get_by_role("button", name=f"Start as new: {name}")
        await expect(new).to_be_hidden()  # the session still saves to it
        await ended(plane, session_id)
        await plane.clock.advance(1)
        await page.reload()
        list_ = await dialog(page)
        await new.press("Enter")
        form = page.get_by_role("dialog", name="Start as a new Studio")
        await expect(form).to_contain_text(f"Begins with the files of {name}")
        await expect(form.get_by_role("radio")).to_have_count(0)
        await form.get_by_label("Name", exact=True).fill("second")
        await form.get_by_role("button", name="Add only").press("Enter")
        await expect(card(page, "second")).to_be_visible()
        studios = (await plane.admin.get("/api/studios")).body["studios"]
        (second,) = [one for one in studios if one["name"] == "second"]
        assert second["parentCheckpoint"]["checkpointName"] == name


async def test_deleting_says_what_is_lost_and_what_is_in_the_way(folder: Path) -> None:
    async with opened(folder) as (plane, page, _):
        session_id = await running(plane)
        await say(plane, session_id, 1, phase=CheckpointPhase.FINALIZED)
        await ended(plane, session_id)
        first = (await shown(plane, session_id))["name"]
        list_ = await dialog(page)
        await list_.get_by_role("button", name=f"Delete {first}").press("Enter")
        asked = page.get_by_role("dialog", name=f"Delete the checkpoint {first}?")
        await expect(asked).to_contain_text("can’t be brought back")
        await expect(asked.get_by_role("button", name="Keep it")).to_be_focused()
        await asked.get_by_role("button", name="Delete checkpoint").press("Enter")
        await expect(asked.get_by_role("alert")).to_contain_text("next session begins")
        await page.keyboard.press("Escape")
        await plane.run(session_id)
        await plane.clock.advance(1)
        await say(plane, session_id, 1, run=2, phase=CheckpointPhase.FINALIZED)
        await ended(plane, session_id)
        await list_.get_by_role("button", name=f"Delete {first}").press("Enter")
        await asked.get_by_role("button", name="Delete checkpoint").press("Enter")
        await expect(list_.get_by_role("status")).to_have_text(f"{first} was deleted.")
        await expect(list_.get_by_role("listitem")).to_have_count(1)


async def test_a_stop_that_waits_says_for_what_and_what_force_means(folder: Path) -> None:
    async with opened(folder) as (plane, page, _):
        await page.clock.install()
        await page.reload()
        session_id = await running(plane)
        await say(plane, session_id, 1)
        assert (await plane.admin.put(f"/api/studios/{session_id}/stop")).status == 200
        waiting = StopStepStatus(
            name="save the files",
            state=StepState.IN_PROGRESS,
            limit_seconds=3600,
            message="The bucket doesn't answer: it is tried again.",
        )
        report = plane.report(
            session_id, sequence=10**7, phase=RunPhase.STOPPING, stop_steps=(waiting,)
        )
        await plane.agent(session_id).put("/api/agent/v1/status", report)
        demo = card(page, "demo")
        await expect(demo).to_contain_text("Save the files")
        await expect(demo).to_contain_text("The bucket doesn't answer")
        await expect(demo).to_contain_text("stays on that session’s machine")
        force = demo.get_by_role("button", name="Force stop demo")
        await expect(force).to_be_hidden()
        await page.clock.pause_at(plane.clock.now() + timedelta(minutes=11))
        await force.press("Enter")
        asked = page.get_by_role("dialog", name="Force demo to stop?")
        await expect(asked).to_contain_text("next session there saves it first")
        await asked.get_by_role("button", name="Force stop").press("Enter")
        await expect(asked).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_checkpoints_stand_out_in_light_and_dark(folder: Path, scheme: str) -> None:
    async with opened(folder) as (plane, page, _):
        session_id = await running(plane)
        await say(plane, session_id, 1, message="The disk is slow")
        await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        list_ = await dialog(page)
        for selector in (".latest", ".state", ".facts", ".note", ".rename", "#checkpoints-age"):
            ratio = await list_.locator(selector).first.evaluate(CONTRAST)
            assert ratio >= 4.5, (selector, ratio)


async def test_files_are_looked_at_and_downloaded_with_the_keyboard(folder: Path) -> None:
    async with opened(folder) as (plane, page, _):
        _, checkpoint = await stored(plane, folder, many=600)
        list_ = await dialog(page)
        await list_.get_by_role("button", name=f"Browse files of {checkpoint['name']}").press(
            "Enter"
        )
        files = page.get_by_role("dialog", name=f"Files of {checkpoint['name']}")
        await files.get_by_role("button", name="Open folder root").press("Enter")
        rows = files.locator("tbody tr")
        await expect(rows).to_have_count(500)
        await files.get_by_role("button", name="Show more").press("Enter")
        await expect(rows).to_have_count(606)
        await expect(rows.filter(has_text="a.csv")).to_contain_text("586 KB")
        await expect(rows.filter(has_text="gone")).to_contain_text("deleted")
        await expect(rows.filter(has_text="link → /etc/passwd")).to_have_count(1)
        for name, content in (("Download a.csv", LONG), ("html", b"<script>alert(1)</script>")):
            async with page.expect_download() as waiting:
                await files.get_by_role("button", name=name).press("Enter")
            path = await (await waiting.value).path()
            assert path.read_bytes() == content
        for pack in (folder / "work" / REPOSITORY_FOLDER / "packs").rglob("*/*"):
            pack.chmod(0o600)
            pack.write_bytes(b"damaged")
        await files.get_by_role("button", name="Download a.csv").press("Enter")
        await expect(files.get_by_role("status")).to_contain_text("“root/a.csv” can’t be read")
        await files.get_by_role("button", name="Open the top folder").press("Enter")
        await expect(rows).to_have_count(1)
        await page.keyboard.press("Escape")
        await expect(files).to_be_hidden()
        await expect(list_).to_be_visible()
