"""What a session makes and deletes where it sees nothing of the machine's own files."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.saving_studio import SavingStudio

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.timeout(300)


@contextlib.contextmanager
def hidden_folder() -> Iterator[Path]:
    """Make one with a file on the machine, where sessions see nothing of it."""
    folder = Path(tempfile.mkdtemp(prefix="studios-test-", dir="/tmp"))
    try:
        (folder / "below").mkdir()
        (folder / "below/file").write_bytes(b"the machine's")
        yield folder / "below"
    finally:
        shutil.rmtree(folder)


async def test_what_is_deleted_over_a_hidden_file_of_the_machine_leaves_no_name() -> None:
    with SavingStudio() as studio, hidden_folder() as folder:
        async with studio.session() as run:
            await run.out(f"mkdir -p {folder} && touch {folder}/file {folder}/other")
            await run.stop()
        async with studio.session() as run:
            await run.out(f"rm {folder}/file")
            await run.stop()
        async with studio.session() as run:
            assert await run.out(f"ls -A {folder}") == "other"
            await run.out(f"rm -r {folder}")
            await run.stop()
        async with studio.session() as run:
            assert await run.out(f"ls -A {folder.parent}") == ""
            await run.stop()
