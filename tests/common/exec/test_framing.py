"""Both ends of a WebSocket in memory: every split, every limit, every way to close."""

from __future__ import annotations

import pytest

from common.exec.framing import AgentFraming, ClientFraming, Closed, Pinged, Ponged
from common.exec.handshake import HandshakeError, accept, ask, is_accepted
from common.exec.messages import (
    DATA_BYTES_MAX,
    Credit,
    Exit,
    FromAgent,
    FromClient,
    Notice,
    Order,
    Signal,
    Started,
    Stdin,
    StdinEnd,
    Stdout,
)
from common.http1.head import parse_request, parse_response

ORDER = Order(arguments=(b"cat",), stdin=True)
NONCE = bytes(16)


def test_a_client_s_messages_arrive_however_they_are_split() -> None:
    said: list[FromClient] = [ORDER, Stdin(bytes(range(256)) * 2), Signal("SIGINT"), StdinEnd()]
    client = ClientFraming()
    stream = b"".join(client.message(message) for message in said) + client.ping() + client.close()
    expected = [*said, Pinged(b""), Closed(1000, "", False)]
    for cut in range(len(stream) + 1):
        agent = AgentFraming()
        heard = [*agent.receive(stream[:cut]), *agent.receive(stream[cut:])]
        assert heard == expected, cut
    agent = AgentFraming()
    assert [found for byte in stream for found in agent.receive(bytes([byte]))] == expected


def test_an_agent_s_messages_arrive_however_they_are_split() -> None:
    said: list[FromAgent] = [Started(7), Credit(9), Stdout(b"x" * 200), Notice("bye"), Exit(code=3)]
    agent = AgentFraming()
    stream = b"".join(agent.message(message) for message in said)
    stream += agent.pong(b"7") + agent.close(1001, "Going.")
    expected = [*said, Ponged(), Closed(1001, "Going.", False)]
    for cut in range(len(stream) + 1):
        client = ClientFraming()
        heard = [*client.receive(stream[:cut]), *client.receive(stream[cut:])]
        assert heard == expected, cut


def test_a_message_in_pieces_is_one_message() -> None:
    client, agent = ClientFraming(), AgentFraming()
    proto = client._websocket._proto
    list(agent.receive(client.message(ORDER)))
    pieces = [proto.send_data(part, fin=False) for part in (b"\x01a", b"", b"b")]
    stream = b"".join(map(bytes, pieces)) + bytes(proto.ping(b"p"))
    assert list(agent.receive(stream)) == [Pinged(b"p")]
    assert list(agent.receive(bytes(proto.send_data(b"c", fin=True)))) == [Stdin(b"abc")]


def test_only_the_first_message_to_an_agent_may_be_large() -> None:
    client, agent = ClientFraming(), AgentFraming()
    large = Order(arguments=(b"x" * 500_000,))
    assert list(agent.receive(client.message(large))) == [large]
    (closed,) = agent.receive(client.message(large))
    assert isinstance(closed, Closed)
    assert (closed.code, closed.is_ours) == (1009, True)


def test_the_largest_piece_of_data_fits_and_one_byte_more_does_not() -> None:
    for framing, sender, message in (
        (ClientFraming(), AgentFraming(), Stdout),
        (AgentFraming(), ClientFraming(), Stdin),
    ):
        if isinstance(framing, AgentFraming):
            list(framing.receive(sender.message(ORDER)))
        fitting = message(bytes(DATA_BYTES_MAX))
        assert list(framing.receive(sender.message(fitting))) == [fitting]
        (closed,) = framing.receive(sender.message(message(bytes(DATA_BYTES_MAX + 1))))
        assert isinstance(closed, Closed)
        assert closed.code == 1009


def test_after_a_violation_nothing_more_is_heard() -> None:
    client, agent = ClientFraming(), AgentFraming()
    bad = bytes(client._websocket._proto.send_data(b"\x77"))
    heard = list(agent.receive(client.message(ORDER) + bad + client.message(StdinEnd())))
    assert heard[0] == ORDER
    assert [type(found) for found in heard[1:]] == [Closed]
    assert list(agent.receive(client.message(StdinEnd()))) == []


def test_nothing_is_said_after_closing_and_closing_twice_is_closing_once() -> None:
    agent = AgentFraming()
    assert agent.close()
    assert agent.close() == b""
    assert agent.message(Exit(code=0)) == b""
    assert agent.ping() == agent.pong(b"") == b""


def test_a_long_reason_is_cut_between_characters() -> None:
    agent, client = AgentFraming(), ClientFraming()
    (closed,) = client.receive(agent.close(1008, "é" * 200))
    assert isinstance(closed, Closed)
    assert closed.reason == "é" * 60


# ── the handshake ────────────────────────────────────────────────────────────


def test_both_ends_agree() -> None:
    head = parse_request(ask(b"/.studio/exec", b"a", b"t", NONCE))
    assert head.fields[b"authorization"] == b"Bearer t"
    assert is_accepted(parse_response(accept(head)), NONCE)


@pytest.mark.parametrize(
    "lie",
    [
        (b"studio-exec.1", b"other"),
        (b"Sec-WebSocket-Accept: ", b"Sec-WebSocket-Accept: x"),
        (b"Sec-WebSocket-A", b"Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-A"),
    ],
)
def test_an_answer_that_is_not_to_this_question_is_refused(lie: tuple[bytes, bytes]) -> None:
    answer = accept(parse_request(ask(b"/", b"a", b"t", NONCE)))
    assert lie[0] in answer
    with pytest.raises(HandshakeError):
        is_accepted(parse_response(answer.replace(*lie)), NONCE)


def test_a_refusal_is_an_ordinary_answer() -> None:
    assert not is_accepted(parse_response(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"), NONCE)


def test_a_body_is_no_part_of_a_handshake() -> None:
    asked = ask(b"/", b"a", b"t", NONCE).replace(b"\r\n\r\n", b"\r\nContent-Length: 2\r\n\r\n")
    with pytest.raises(HandshakeError, match="body"):
        accept(parse_request(asked))


def test_the_protocol_may_be_one_of_several_offered() -> None:
    asked = ask(b"/", b"a", b"t", NONCE).replace(b"studio-exec.1", b"x, studio-exec.1")
    assert b"Protocol: studio-exec.1\r\n" in accept(parse_request(asked))
