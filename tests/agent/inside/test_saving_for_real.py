"""`studio save` in a whole session: what it says is safe is in the work directory."""

from __future__ import annotations

import json
import re
import shutil

from tests.support.saving_studio import SavingStudio

CROWD = 20


async def test_what_is_said_to_be_safe_outlives_the_machine() -> None:
    with SavingStudio() as studio:
        async with studio.session() as run:
            await run.out("echo kept >/workspace/kept")
            said = await run.out("studio save")
            assert re.fullmatch(
                r"Saved: [\d ]+ files and folders, \d.* were new\. It took \d.*, and holds all "
                r"that was there at \d\d:\d\d:\d\d UTC\S*\.",
                said,
            )
            assert (await run.out("studio save")).startswith("Nothing had changed: ")
            history = json.loads(await run.out("studio history -o json"))
            assert [each["generation"] for each in history["generations"]] == [1]
            assert history["checkpoint"]["phase"] == "interim"
            assert "Saved      less than a minute ago\n" in await run.out("studio status")
            await run.out("echo lost >/workspace/lost")
            await run.kill()
        await studio.nothing_remains()
        shutil.rmtree(studio.state)
        async with studio.session() as run:
            assert await run.out("ls /workspace") == "kept"
            began = (await run.out("studio history")).splitlines()[1]
            assert began == f"Began with the files of checkpoint {studio.parent_id}"
            await run.stop()


async def test_crowd_in_the_session_makes_two_generations_at_most() -> None:
    with SavingStudio() as studio:
        async with studio.session() as run:
            ends = await run.out(
                f"for each in $(seq {CROWD}); do\n"
                "    (echo $each >/workspace/$each; studio save >/dev/null; echo $?) &\n"
                "done; wait"
            )
            assert ends.split() == ["0"] * CROWD
            history = json.loads(await run.out("studio history -o json"))
            assert len(history["generations"]) <= 2
            assert history["checkpoint"]["entries"] >= CROWD
            await run.stop()


async def test_work_directory_that_is_gone_is_named_and_what_comes_next() -> None:
    with SavingStudio() as studio:
        async with studio.session() as run:
            shutil.rmtree(studio.work)
            result = await run.sh("studio save 2>&1")
            assert result.code == 1
            assert result.output.startswith("studio: The files could not be saved: ")
            assert result.output.strip().endswith(
                "Nothing was saved before. It is tried again by itself: see `studio history`."
            )
            await run.kill()
        await studio.nothing_remains()
