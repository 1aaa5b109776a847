"""Frames between host and guest: one type byte, a 4-byte big-endian length, the payload. Sans-I/O.

This module and `codec` travel to the guest with its source, so both ends share one definition. They import nothing but the
standard library and keep to Python 3.8. A payload has a largest size per type, and whatever is larger or unknown is a FrameError:
neither side ever buffers more than one frame because the other says so.
"""

from __future__ import annotations

TYPE_CHECKING = False  # from typing it would cost a guest's start milliseconds, as json and struct would: those come where they are used
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

KIB = 1 << 10
MIB = 1 << 20

# host → guest
RUN = b"R"  # what to run and its limits, and the sizes of the blobs that follow
BLOB = b"B"  # a piece of the code or of an input; as many as it takes to fill the sizes that RUN named
CANCEL = b"C"  # kill the run; ignored when nothing runs

# guest → host; only the guest itself writes these, never the code that it runs
READY = b"A"  # JSON: what the guest found out about itself
STDOUT = b"O"
STDERR = b"E"
STDOUT_GAP = b"o"  # 8 bytes: how many bytes of the stream were left out here; its last bytes follow
STDERR_GAP = b"e"
RESULT = b"V"  # opaque bytes that the code's process wrote: frames of the third kind, which the host checks
FILE = b"K"  # JSON: name of a file that the code left, whose FILE_DATA follows; it ends with the next frame of another type
FILE_DATA = b"k"
LEFT_OUT = b"L"  # JSON: name of such a file that does not come, and why
EXIT = b"X"  # JSON: how the run ended

# both ways, while a run has a network: one connection of the code each, told apart by a number (see `tunnels`)
STREAM_OPEN = b"+"  # guest → host only
STREAM_DATA = b"="
STREAM_END = b"-"  # no more data from this side
STREAM_CLOSE = b"#"  # from the guest: it is over. From the host: deliver what was sent, then close; 0 closes the listener
STREAM_RESET = b"!"  # host → guest only: break it off
STREAM_WINDOW = b"^"  # 4 bytes: how many bytes were delivered, so that as many more may come

# the code's process → host, inside RESULT; as untrustworthy as the code
FAULT = b"T"  # JSON: type and text of the exception that ended the code
VALUE = b"N"  # JSON: name, kind and size of an output whose DATA follows
DATA = b"D"
REFUSED = b"F"  # JSON: name of an output and why it cannot cross
DISPLAY = b"Y"  # JSON: kinds and sizes of the parts of something shown, whose DATA follows
UNSHOWN = b"U"  # JSON: how many displays were too many or too large

CHUNK_BYTES = 64 * KIB
BLOB_BYTES = 1 * MIB
FAULT_BYTES = 256 * KIB
MAX_CODE_BYTES = 8 * MIB
PART_BYTES = 8 * MIB  # one part of a display
MAX_DISPLAYS = 200  # in one run
REPORT_FD = 3  # where the code's process writes its report

WINDOW_BYTES = 64 * KIB  # on the way in one direction of one stream
_STREAM = {STREAM_DATA: 4 + 32 * KIB, STREAM_END: 4, STREAM_CLOSE: 4, STREAM_WINDOW: 8}

TO_GUEST = {RUN: 1 * MIB, BLOB: BLOB_BYTES, CANCEL: 0, **_STREAM, STREAM_RESET: 4}
FROM_GUEST = {
    READY: CHUNK_BYTES,
    STDOUT: CHUNK_BYTES,
    STDERR: CHUNK_BYTES,
    STDOUT_GAP: 8,
    STDERR_GAP: 8,
    RESULT: CHUNK_BYTES,
    FILE: 32 * KIB,
    FILE_DATA: CHUNK_BYTES,
    LEFT_OUT: 32 * KIB,
    EXIT: CHUNK_BYTES,
    **_STREAM,
    STREAM_OPEN: 4,
}
FROM_CODE = {FAULT: FAULT_BYTES, VALUE: 4 * KIB, DATA: BLOB_BYTES, REFUSED: 4 * KIB, DISPLAY: 4 * KIB, UNSHOWN: KIB}

_HEADER_BYTES = 5


class FrameError(ValueError):
    """The peer sent what the protocol does not allow."""


def frame(kind: bytes, payload: bytes = b"") -> bytes:
    return kind + len(payload).to_bytes(4, "big") + payload


def json_frame(kind: bytes, content: Mapping[str, Any]) -> bytes:
    import json

    return frame(kind, json.dumps(content).encode("ascii"))


def run_header(payload: bytes) -> dict[str, Any]:
    """What a RUN frame holds: JSON, or what marshal makes of it for a guest on the host's own Python, which need not import json then."""
    import marshal

    if payload[:1] != b"{":
        header: dict[str, Any] = marshal.loads(payload)[0]
        return header
    return json_payload(payload)


def plain_frame(kind: bytes, content: Mapping[str, Any]) -> bytes:
    """The same for short and simple contents, without the module json: a guest that was just started does not have it yet."""
    return frame(kind, _json(content).encode("ascii"))


def _json(value: Any) -> str:
    if value is None or value is True or value is False:
        return "null" if value is None else "true" if value else "false"
    if isinstance(value, str):
        return f'"{"".join(map(_escaped, value))}"'
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_json, value))}]"
    return f"{{{', '.join(f'{_json(name)}: {_json(each)}' for name, each in value.items())}}}"


def _escaped(char: str) -> str:
    if " " <= char <= "~" and char not in '"\\':
        return char
    units = char.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))


def stream_frame(kind: bytes, number: int, data: bytes = b"") -> bytes:
    return frame(kind, number.to_bytes(4, "big") + data)


def stream_payload(payload: bytes) -> tuple[int, bytes]:
    """(number, data) of a frame of a stream."""
    if len(payload) < 4:
        raise FrameError("a frame of a stream has no number")
    return int.from_bytes(payload[:4], "big"), payload[4:]


def chunks(kind: bytes, data: bytes, size: int) -> list[bytes]:
    """`data` as frames of at most `size` bytes; none for no data."""
    view = memoryview(data)
    return [frame(kind, bytes(view[start : start + size])) for start in range(0, len(view), size)]


def head_bytes(output_bytes: int) -> int:
    """How much of a stream is passed on as it comes; the rest of its allowance is kept for the stream's end."""
    return output_bytes * 3 // 4


def json_payload(payload: bytes) -> dict[str, Any]:
    """The JSON object in a payload. Raises FrameError for anything else."""
    import json

    try:
        content = json.loads(payload)
    except (ValueError, RecursionError) as exc:
        raise FrameError(f"a frame holds no JSON: {exc}") from exc
    if not isinstance(content, dict):
        raise FrameError(f"a frame holds {type(content).__name__} instead of an object")
    return content


class FrameReader:
    """Bytes in, whole frames out. `sizes` names the types that may come and the largest payload of each."""

    def __init__(self, sizes: Mapping[bytes, int]) -> None:
        self._sizes = sizes
        self._buffer = bytearray()

    def __repr__(self) -> str:
        return f"<FrameReader {len(self._buffer)} bytes waiting>"

    @property
    def pending(self) -> int:
        """Bytes of a frame that has not come whole."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """The frames that `data` completes, as (type, payload). Raises FrameError as soon as a header is not allowed."""
        buffer = self._buffer
        buffer += data
        frames = []
        start = 0
        while len(buffer) - start >= _HEADER_BYTES:
            kind, length = bytes(buffer[start : start + 1]), int.from_bytes(buffer[start + 1 : start + _HEADER_BYTES], "big")
            most = self._sizes.get(kind)
            if most is None:
                raise FrameError(f"a frame has the unknown type {kind!r}")
            if length > most:
                raise FrameError(f"a frame of type {kind!r} says {length} bytes; at most {most} are allowed")
            end = start + _HEADER_BYTES + length
            if len(buffer) < end:
                break
            frames.append((kind, bytes(memoryview(buffer)[start + _HEADER_BYTES : end])))
            start = end
        del buffer[:start]
        return frames
