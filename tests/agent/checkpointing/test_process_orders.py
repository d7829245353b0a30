"""What the agent and its process tell each other comes as it was sent, or not at all."""

from __future__ import annotations

import asyncio
import socket
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from agent.checkpointing import orders
from agent.checkpointing.facts import Restored, Saved, SaveProgress, Swept
from agent.checkpointing.streams import Stream
from common.secret import Secret
from common.session_spec import WorkDirectory
from common.wire import MalformedMessageError

if TYPE_CHECKING:
    from agent.checkpointing.orders import Heard, Order

SAVED = Saved(
    checkpoint_id="00000000000000c1",
    generation=3,
    run_number=7,
    created_at=datetime(2030, 1, 2, tzinfo=UTC),
    image="an image",
    final=False,
    entries=4,
    file_bytes=5,
    stored_bytes=6,
    torn=0,
    root="ab" * 32,
    volume=1,
    passed_over=("a record is damaged",),
)
ORDERS: list[Order] = [
    orders.Begin(
        work_directory=WorkDirectory(url="s3://b/p", credentials={"key": Secret("shown here")})
    ),
    orders.Seal(checkpoint_id="c", run_number=1),
    orders.Newest(checkpoint_id="c", before=None),
    orders.Open(checkpoint_id="c", run_number=1, image="i", parent=SAVED),
    orders.Write(folder="/f", originals="/o", has_changes=True, since_generation=2, final=False),
    orders.Sweep(),
    orders.Restore(saved=SAVED, folder="/f", over=("/a", "/b")),
    orders.Cancel(),
]
HEARD: list[Heard] = [
    orders.SaveUnderway(progress=SaveProgress(entries=1, read_bytes=2, stored_bytes=3)),
    orders.Found(saved=SAVED),
    orders.Found(saved=None),
    orders.DoneSweeping(swept=Swept(records=1, deleted_bytes=2, refused=3)),
    orders.DoneRestoring(restored=Restored(entries=1, file_bytes=2)),
    orders.Cancelled(),
    orders.Failed(trouble=orders.Trouble.STORAGE, sentence="It is away.", retry_helps=True),
]
CHANGES = [b"", b"a", b"not \xff text", b"a\nb", *(b"x/%d" % number for number in range(10_000))]


async def _pair() -> tuple[Stream, Stream]:
    ends = socket.socketpair()
    for end in ends:
        end.setblocking(False)
    return await Stream.of(ends[0]), await Stream.of(ends[1])


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: type(order).__name__)
async def test_an_order_comes_as_it_was_sent(order: Order) -> None:
    near, far = await _pair()
    await near.send(order)
    near.say(orders.Cancel())
    message = await far.read()
    assert message is not None
    assert orders.decode_order(message.body) == order
    following = await far.read()
    assert following is not None
    assert orders.decode_order(following.body) == orders.Cancel()
    await near.close()
    assert await far.read() is None
    await far.close()


@pytest.mark.parametrize("heard", HEARD, ids=lambda heard: type(heard).__name__)
def test_an_answer_comes_as_it_was_sent(heard: Heard) -> None:
    data = orders.encode(heard)
    assert orders.lengths(data[: orders.HEAD_BYTES]) == (len(data) - orders.HEAD_BYTES, 0)
    assert orders.decode_heard(data[orders.HEAD_BYTES :]) == heard


@pytest.mark.parametrize("changes", [[], [b""], [b"", b""], CHANGES], ids=len)
async def test_paths_of_any_bytes_come_as_they_are(changes: list[bytes]) -> None:
    near, far = await _pair()
    size = orders.appendix_bytes(changes)
    assert size is not None
    assert sum(map(len, orders.appendix(changes))) == size
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(far.read())
        await near.send(ORDERS[4], orders.appendix(changes), appendix_bytes=size)
    message = reading.result()
    assert message is not None
    assert orders.parse_appendix(message.appendix) == tuple(changes)
    await near.close()
    await far.close()


def test_what_is_too_much_to_be_told_is_not() -> None:
    assert orders.appendix_bytes([b"x"] * orders.CHANGES_MAX) == 2 * orders.CHANGES_MAX
    assert orders.appendix_bytes([b"x"] * (orders.CHANGES_MAX + 1)) is None
    longest = [b"x" * 4095] * (orders.CHANGES_BYTES_MAX // 4096)
    assert orders.appendix_bytes(longest) == orders.CHANGES_BYTES_MAX
    assert orders.appendix_bytes([*longest, b""]) is None


def test_bytes_that_are_no_message_are_refused() -> None:
    with pytest.raises(MalformedMessageError):
        orders.lengths((orders.MESSAGE_BYTES_MAX + 1).to_bytes(4, "big") + bytes(4))
    with pytest.raises(MalformedMessageError):
        orders.lengths(bytes(4) + (orders.CHANGES_BYTES_MAX + 1).to_bytes(4, "big"))
    with pytest.raises(MalformedMessageError):
        orders.decode_order(b'{"type": "Nothing"}')
    with pytest.raises(MalformedMessageError):
        orders.decode_heard(orders.encode(orders.Cancel())[orders.HEAD_BYTES :])
    with pytest.raises(MalformedMessageError):
        orders.parse_appendix(b"a\0b")


async def test_what_was_cut_off_is_the_end() -> None:
    data = orders.encode(ORDERS[3])
    for length in range(len(data)):
        near, far = socket.socketpair()
        near.sendall(data[:length])
        near.close()
        far.setblocking(False)
        stream = await Stream.of(far)
        assert await stream.read() is None
        await stream.close()
