"""Streams against a guest that breaks the rules: every broken rule ends it, and nothing grows without bound."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gleitzeit_nb.sandbox import protocol
from gleitzeit_nb.sandbox.network.streams import CodeStream, Streams
from gleitzeit_nb.sandbox.protocol import FrameError, FrameReader, stream_frame
from tests.support.waiting import until

WINDOW = protocol.WINDOW_BYTES
OPEN, DATA, END, CLOSE = (protocol.STREAM_OPEN, protocol.STREAM_DATA, protocol.STREAM_END, protocol.STREAM_CLOSE)
CREDIT = protocol.STREAM_WINDOW


class Wire:
    """The guest's end: `sent` are the frames that were written to it. `held` keeps a write from ending."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, int, bytes]] = []
        self.free = asyncio.Event()
        self.free.set()
        self.cut = 0
        self._frames = FrameReader(protocol.TO_GUEST)

    async def send(self, data: bytes) -> None:
        try:
            await self.free.wait()
        except asyncio.CancelledError:
            self.cut += 1
            raise
        for kind, payload in self._frames.feed(data):
            self.sent.append((kind, *protocol.stream_payload(payload)))

    def data(self, number: int) -> bytes:
        return b"".join(data for kind, each, data in self.sent if kind == DATA and each == number)

    def credit(self) -> int:
        return sum(int.from_bytes(data, "big") for kind, _, data in self.sent if kind == CREDIT)


async def nothing(stream: CodeStream) -> None:
    await asyncio.Event().wait()


def take(streams: Streams, kind: bytes, number: int, data: bytes = b"") -> None:
    streams.take(kind, number.to_bytes(4, "big") + data)


def started(serve: object = nothing, most_open: int = 4, most_total: int = 10) -> tuple[Streams, Wire]:
    streams, wire = Streams(serve, most_open, most_total), Wire()  # type: ignore[arg-type]
    streams.start(wire.send)
    return streams, wire


@pytest.mark.parametrize(
    "frames",
    [
        [(OPEN, 0, b"")],
        [(OPEN, 5, b""), (OPEN, 5, b"")],
        [(OPEN, 5, b""), (OPEN, 4, b"")],
        [(OPEN, 5, b""), (CLOSE, 5, b""), (OPEN, 5, b"")],
        [(OPEN, number, b"") for number in range(1, 6)],
        [(DATA, 1, b"x")],
        [(END, 1, b"")],
        [(CREDIT, 1, b"\0\0\0\1")],
        [(OPEN, 1, b""), (CLOSE, 1, b""), (DATA, 1, b"x")],
        [(OPEN, 1, b""), (DATA, 1, b"")],
        [(OPEN, 1, b""), (END, 1, b""), (END, 1, b"")],
        [(OPEN, 1, b""), (END, 1, b""), (DATA, 1, b"x")],
        [(OPEN, 1, b""), *[(DATA, 1, b"x" * 32768)] * 2, (DATA, 1, b"x")],
        [(OPEN, 1, b""), (CREDIT, 1, b"\0\0\0\1")],
        [(OPEN, 1, b""), (CREDIT, 1, b"\0\0\0\0")],
        [(OPEN, 1, b""), (CREDIT, 1, b"\0\0\1")],
        [(OPEN, 1, b""), (CREDIT, 1, b"")],
    ],
)
async def test_a_broken_rule_is_a_broken_protocol(frames: list[tuple[bytes, int, bytes]]) -> None:
    streams, _ = started()
    *before, last = frames
    for frame in before:
        take(streams, *frame)
    with pytest.raises(FrameError):
        take(streams, *last)
    await streams.close()


async def test_a_frame_without_a_number_is_a_broken_protocol() -> None:
    streams, _ = started()
    with pytest.raises(FrameError, match="no number"):
        streams.take(OPEN, b"\0\0")
    await streams.close()


async def test_the_listener_is_closed_with_the_last_connection_and_a_flood_ends_the_guest() -> None:
    streams, wire = started(most_open=4, most_total=10)
    for number in range(1, 11):
        take(streams, OPEN, number)
        take(streams, CLOSE, number)
    await until(lambda: bool(wire.sent))
    assert wire.sent == [(CLOSE, 0, b"")]
    for number in range(11, 15):  # those that were on the way
        take(streams, OPEN, number)
        take(streams, CLOSE, number)
    with pytest.raises(FrameError):
        take(streams, OPEN, 15)
    await streams.close()


async def test_what_the_code_does_not_read_waits_within_its_window() -> None:
    async def pour(stream: CodeStream) -> None:
        await stream.write(b"y" * (3 * WINDOW))

    streams, wire = started(pour)
    take(streams, OPEN, 1)
    await until(lambda: len(wire.data(1)) == WINDOW)
    await asyncio.sleep(0.05)
    assert len(wire.data(1)) == WINDOW
    take(streams, CREDIT, 1, (1000).to_bytes(4, "big"))
    await until(lambda: len(wire.data(1)) == WINDOW + 1000)
    await streams.close()


async def test_room_is_given_back_as_the_other_side_takes_it() -> None:
    got = bytearray()

    async def drink(stream: CodeStream) -> None:
        while data := await stream.read():
            got.extend(data)

    streams, wire = started(drink)
    take(streams, OPEN, 1)
    total = 5 * WINDOW
    for sent in range(0, total, 1 << 14):
        await until(lambda sent=sent: WINDOW + wire.credit() - sent >= 1 << 14)
        take(streams, DATA, 1, b"z" * (1 << 14))
    take(streams, END, 1)
    await until(lambda: len(got) == total)
    await streams.close()


async def test_closing_ends_every_stream_and_lets_the_message_that_is_under_way_go_whole() -> None:
    cancelled = []

    async def last(stream: CodeStream) -> None:
        try:
            await stream.write(b"x" * 100)
            await asyncio.Event().wait()
        finally:
            cancelled.append(stream.number)

    streams, wire = started(last)
    wire.free.clear()
    take(streams, OPEN, 1)
    take(streams, OPEN, 2)
    await asyncio.sleep(0.05)
    closing = asyncio.create_task(streams.close())
    await until(lambda: sorted(cancelled) == [1, 2])
    assert not closing.done()
    wire.free.set()
    await closing
    assert wire.cut == 0
    take(streams, OPEN, 3)  # too late, and of no effect
    assert "0 open" not in repr(streams)


async def test_a_server_side_that_fails_breaks_its_stream_off(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(stream: CodeStream) -> None:
        raise RuntimeError("a mistake")

    streams, wire = started(fail)
    take(streams, OPEN, 1)
    await until(lambda: (protocol.STREAM_RESET, 1, b"") in wire.sent)
    assert "a mistake" in caplog.text
    await streams.close()


KINDS = st.sampled_from([OPEN, DATA, END, CLOSE, CREDIT])


@settings(max_examples=200)
@given(st.lists(st.tuples(KINDS, st.integers(0, 6), st.binary(max_size=8)), max_size=40))
def test_no_sequence_of_frames_holds_more_than_the_rules_allow(frames: list[tuple[bytes, int, bytes]]) -> None:
    async def go() -> None:
        streams, _ = started(most_open=2, most_total=3)
        for kind, number, data in frames:
            try:
                take(streams, kind, number, data)
            except FrameError:
                break
            assert len(streams._open) <= 2
            assert streams.total <= 5
            assert all(len(stream._buffer) <= WINDOW for stream in streams._open.values())
        await streams.close()
        assert not streams._tasks

    asyncio.run(go())


def test_frames_of_streams_travel_as_they_are_written() -> None:
    reader = FrameReader(protocol.TO_GUEST)
    [(kind, payload)] = reader.feed(stream_frame(DATA, 7, b"abc"))
    assert (kind, protocol.stream_payload(payload)) == (DATA, (7, b"abc"))
