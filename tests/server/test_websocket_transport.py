"""Writing to a WebSocket: the bound on unsent bytes, and sockets that are closed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from djhookbox.server.budget import Incoming
from djhookbox.server.connection import Handshake, Packet
from djhookbox.server.protocol import websocket
from djhookbox.server.protocol.rtjp import Frame
from djhookbox.server.transports.websocket import WebSocketConnection
from djhookbox.server.unsent import Unsent
from djhookbox.wire.closing import ABNORMAL, BY_SITE, TOO_SLOW, Disconnect

PACKET = Packet(b"x\r\n", websocket.text(b"x\r\n"))

SMALL = Packet(b"s\r\n", websocket.text(b"s\r\n"), snapshot=True)


class Transport:
    """A socket's transport as uvloop makes it: one that is lost refuses to be written to."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.unsent = 0
        self.is_lost = False
        self.aborted = False

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def write(self, data: bytes) -> None:
        if self.is_lost:
            raise RuntimeError("unable to perform operation; the handler is closed")
        self.written.append(data)

    def is_closing(self) -> bool:
        return self.is_lost

    def abort(self) -> None:
        self.aborted = True


class Case:
    """A connection on such a transport."""

    def __init__(self, handle: Callable[..., object] | None = None) -> None:
        self.transport = Transport()
        self.ends: list[Disconnect] = []
        on_end: Callable[..., None] = lambda connection, end: self.ends.append(end)  # noqa: E731
        self.connection = WebSocketConnection(
            self.transport,  # type: ignore[arg-type]
            1000,
            handshake=Handshake(),
            handle=handle,
            on_end=on_end,
            max_frame_size=100,
            frames_per_second=10,
            incoming=Incoming(1_000_000),
            all_unsent=Unsent(100_000_000),
        )


async def test_bytes_are_written_ready_made() -> None:
    case = Case()
    case.connection.write(PACKET)
    assert case.transport.written == [PACKET.websocket]


async def test_who_does_not_read_is_closed_after_the_fan_out() -> None:
    case = Case()
    case.transport.unsent = 1001
    case.connection.write(PACKET)
    case.connection.write(PACKET)
    assert (case.transport.written, case.ends) == ([], [])
    await asyncio.sleep(0)
    assert case.ends == [TOO_SLOW]
    assert case.transport.written == [websocket.close(TOO_SLOW.code, TOO_SLOW.reason)]
    case.connection.write(PACKET)
    assert len(case.transport.written) == 1


async def test_what_is_published_while_a_large_snapshot_is_on_its_way_ends_nothing() -> None:
    case = Case()
    snapshot = Packet(b"s" * 3000, websocket.text(b"s" * 3000), snapshot=True)
    case.connection.write(snapshot)
    case.transport.unsent = 4000  # the snapshot, and as much as may always wait
    case.connection.write(PACKET)
    assert case.transport.written[-1] == PACKET.websocket
    case.transport.unsent = 4001
    case.connection.write(PACKET)
    await asyncio.sleep(0)
    assert case.ends == [TOO_SLOW]


async def test_once_a_snapshot_has_arrived_the_bound_is_the_usual_one() -> None:
    for read in (lambda case: case.connection.ping(), lambda case: case.connection.write(SMALL)):
        case = Case()
        case.connection.write(Packet(b"s" * 3000, websocket.text(b"s" * 3000), snapshot=True))
        case.transport.unsent = 0
        read(case)
        case.transport.unsent = 1010
        case.connection.write(PACKET)
        await asyncio.sleep(0)
        assert case.ends == [TOO_SLOW]


async def test_snapshots_that_nobody_reads_are_bounded_too() -> None:
    case = Case()
    for count in range(100):
        case.transport.unsent = 3000 * count
        case.connection.write(Packet(b"s" * 3000, b"", snapshot=True))
    await asyncio.sleep(0)
    assert case.ends == [TOO_SLOW]
    assert len(case.transport.written) < 10


async def test_a_lost_socket_does_not_stop_the_fan_out() -> None:
    case = Case()
    case.transport.is_lost = True
    case.connection.write(PACKET)
    case.connection.ping()
    case.connection.write(PACKET)
    case.connection.close(BY_SITE)
    assert case.ends == [BY_SITE]
    assert case.transport.aborted


async def test_an_abnormal_end_is_not_announced() -> None:
    case = Case()
    case.connection.close(ABNORMAL)
    assert case.transport.written == []
    assert case.transport.aborted


async def test_pings_tell_whether_anything_was_heard() -> None:
    case = Case()
    assert case.connection.ping()  # the handshake was
    assert not case.connection.ping()
    assert case.transport.written == [websocket.PING] * 2
    case.connection._room = asyncio.Event()  # reading waits: it could not hear a pong
    assert case.connection.ping()


#: Three frames that arrive together.
FRAMES = '[1,"A",{}]\r\n[2,"B",{}]\r\n[3,"C",{}]\r\n'


async def handled(case: Case) -> None:
    """Let the connection handle these frames."""
    assert case.connection.accept(FRAMES) is None
    for _ in range(5):
        await asyncio.sleep(0)


async def test_answers_to_frames_that_came_together_leave_together() -> None:
    async def handle(connection: WebSocketConnection, _frame: Frame) -> None:
        connection.write(PACKET)
        assert case.transport.written == []

    case = Case(handle)
    await handled(case)
    assert case.transport.written == [3 * PACKET.websocket]
    case.connection.write(PACKET)
    assert case.transport.written[1:] == [PACKET.websocket]


async def test_they_leave_before_whatever_follows_them() -> None:
    async def handle(connection: WebSocketConnection, frame: Frame) -> None:
        connection.write(PACKET)
        if frame.name == "B":
            connection.ping()
        elif frame.name == "C":
            connection.close(BY_SITE)

    case = Case(handle)
    await handled(case)
    close = websocket.close(BY_SITE.code, BY_SITE.reason)
    assert b"".join(case.transport.written) == b"".join(
        [PACKET.websocket, PACKET.websocket, websocket.PING, PACKET.websocket, close]
    )


async def test_an_answer_does_not_wait_for_the_webhook_of_the_next_frame() -> None:
    gate = asyncio.Event()

    async def handle(connection: WebSocketConnection, frame: Frame) -> None:
        if frame.name == "B":
            await gate.wait()
        connection.write(PACKET)

    case = Case(handle)
    await handled(case)
    assert case.transport.written == [PACKET.websocket]
    case.connection.write(PACKET)  # published in the meantime
    await asyncio.sleep(0)
    assert case.transport.written == [PACKET.websocket] * 2
    gate.set()
    for _ in range(3):
        await asyncio.sleep(0)
    assert case.transport.written[2:] == [2 * PACKET.websocket]


async def test_answers_that_leave_together_are_bounded_too() -> None:
    async def handle(connection: WebSocketConnection, _frame: Frame) -> None:
        connection.write(Packet(b"", b"x" * 600))

    case = Case(handle)
    await handled(case)
    assert case.ends == [TOO_SLOW]
    assert case.connection.unsent == 0


async def test_answers_that_leave_together_may_find_the_socket_lost() -> None:
    async def handle(connection: WebSocketConnection, _frame: Frame) -> None:
        connection.write(PACKET)
        case.transport.is_lost = True

    case = Case(handle)
    await handled(case)
    assert case.transport.written == []
