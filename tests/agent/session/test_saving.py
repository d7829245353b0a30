"""What a session changed is saved, and there again in the next one: on the real kernel."""

from __future__ import annotations

from common.messages import CheckpointPhase
from tests.support.saving_studio import SavingStudio, checkpoint_of
from tests.support.session_agent import MB

CHANGES = """
set -e
mkdir -p /workspace/sub /opt/own
echo {number} >/workspace/sub/file
echo {number} >>/opt/own/all
rm -f /etc/issue
ln -sf file /workspace/sub/link
"""


async def test_what_was_changed_is_there_after_three_stops_and_starts_on_a_new_volume() -> None:
    with SavingStudio() as studio:
        for number in range(4):
            async with studio.session() as run:
                if number:
                    assert await run.out("cat /workspace/sub/link") == str(number - 1)
                    assert (await run.out("cat /opt/own/all")).split() == [
                        str(each) for each in range(number)
                    ]
                    assert (await run.sh("test -e /etc/issue")).code != 0
                used = int(await run.out("df --output=used -B 1M / | tail -1"))
                assert used < 64, "what was restored is below the volume, not on it"
                assert studio.image_bytes() == studio.volume.initial_bytes == 256 * MB
                await run.out(CHANGES.format(number=number))
                report = await run.stop()
            status = checkpoint_of(report)
            assert status.phase is CheckpointPhase.FINALIZED
            assert not studio.image.exists(), "all is saved, so the volume is not needed"
            newest = (await studio.records(status.id))[0]
            assert newest.final
            assert newest.run_number == number + 1
            studio.assert_left_in_order()


async def test_what_was_done_to_the_root_folder_itself_stays() -> None:
    with SavingStudio() as studio:
        async with studio.session() as run:
            await run.out("chmod 1711 / && chown 7:8 / && setfattr -n user.mine -v yes /")
            await run.stop()
        for _ in range(2):
            async with studio.session() as run:
                assert await run.out("stat -c '%a %u %g' /") == "1711 7 8"
                assert "yes" in await run.out("getfattr -n user.mine / 2>&1")
                await run.stop()
