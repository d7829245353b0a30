"""The files of one session: its volume, made, kept large enough and let go of.

make ──▶ run: the volume grows as it is written ──▶ detach
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from agent.earlier_files import CannotImportError, bring_in
from agent.volume.attachment import ACTIVE
from agent.volume.btrfs import BtrfsVolume
from agent.volume.monitor import VolumeMonitor

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.host_state import HostState
    from common.clock import Clock
    from common.messages import VolumeStatus
    from common.session_spec import SessionSpec

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Layers:
    """What a session's root is laid together from, besides the image."""

    active: str
    """The folder of `upper` and `work`."""


class SessionFiles:
    """One session's. `on_change` tells of their status."""

    def __init__(
        self,
        spec: SessionSpec,
        host: HostState,
        *,
        clock: Clock,
        on_change: Callable[[], None],
    ) -> None:
        self._spec = spec
        self._host = host
        self._volume = BtrfsVolume(host.folder, spec.volume, clock=clock)
        self._monitor = VolumeMonitor(self._volume, spec.volume, clock=clock, on_change=on_change)

    async def make(self, tell: Callable[[str], None]) -> Layers:
        """Make them ready to be used. `tell` is called with how far it is, in a few words.

        Raise VolumeError, CannotImportError or OSError; `detach` takes away what there is then.
        """
        tell("its volume is being attached")
        await self._volume.create()
        _log.info("volume_image_ready")
        mount_point = await self._volume.attach()
        _log.info("volume_attached")
        active = mount_point / ACTIVE
        await self._bring_in_earlier_files(active / "upper", tell)
        return Layers(str(active))

    async def _bring_in_earlier_files(
        self, upper: os.PathLike[str], tell: Callable[[str], None]
    ) -> None:
        """While the volume grows: they may be more than it holds at first."""
        earlier = self._host.earlier_workspace
        if not await asyncio.to_thread(earlier.is_dir):
            return
        tell("the files that it had before sessions had volumes are being copied")
        workspace = os.path.join(upper, self._spec.tool.working_directory.lstrip("/"))
        refusal: Exception | None = None
        await self._monitor.step()  # a copy that was given up may have filled it
        async with asyncio.TaskGroup() as group:
            growing = group.create_task(self._monitor.run())
            try:
                await bring_in(earlier, type(earlier)(workspace))
            except (CannotImportError, OSError) as error:
                refusal = error  # raised in here it would come out in a group
            growing.cancel()
        if refusal is not None:
            raise refusal

    async def run(self) -> None:
        """Keep them until cancelled."""
        await self._monitor.run()

    async def detach(self, *, patient: bool) -> None:
        """Write everything to the volume's image and let go of it. Idempotent. Raise VolumeError.

        See `Volume.detach`.
        """
        await self._volume.detach(patient=patient)

    def volume_status(self) -> VolumeStatus | None:
        return self._monitor.status()

    def growths(self) -> tuple[int, int]:
        """Return how often the volume grew, and how often it could not."""
        return self._monitor.growths, self._monitor.growth_failures
