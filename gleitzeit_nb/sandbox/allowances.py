"""What passes of the output and the report of a run, and what is left out. Travels to the guest: standard library only, Python 3.8."""

from __future__ import annotations

from gleitzeit_nb.sandbox import protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Stream:
    """One stream's allowance: the first part passes at once, the last part waits for the end, what lies between is counted."""

    def __init__(self, kind: bytes, gap_kind: bytes, output_bytes: int) -> None:
        self.kind = kind
        self.gap_kind = gap_kind
        self.head_left = protocol.head_bytes(output_bytes)
        self.tail_bytes = output_bytes - self.head_left
        self.tail = bytearray()
        self.dropped = 0
        self.ended = False

    def take(self, data: bytes) -> bytes:
        head = data[: self.head_left]
        self.head_left -= len(head)
        self.tail += data[len(head) :]
        surplus = len(self.tail) - self.tail_bytes
        if surplus > protocol.CHUNK_BYTES:  # not on every read: moving the tail costs
            del self.tail[:surplus]
            self.dropped += surplus
        return protocol.frame(self.kind, head) if head else b""

    def end(self) -> list[bytes]:
        surplus = max(0, len(self.tail) - self.tail_bytes)
        del self.tail[:surplus]
        self.dropped += surplus
        gap = [protocol.frame(self.gap_kind, self.dropped.to_bytes(8, "big"))] if self.dropped else []
        return gap + protocol.chunks(self.kind, bytes(self.tail), protocol.CHUNK_BYTES)


class Results:
    """The report of the code's process, passed on unread up to its allowance; the host sees that it was cut."""

    def __init__(self, most: int) -> None:
        self.left = most
        self.ended = False

    def take(self, data: bytes) -> bytes:
        data = data[: self.left]
        self.left -= len(data)
        return protocol.frame(protocol.RESULT, data) if data else b""

    def end(self) -> list[bytes]:
        return []


def of_run(reads: list[int], header: dict[str, Any]) -> dict[int, Stream | Results]:
    """What becomes of each pipe of a run: stdout, stderr, and the report."""
    out, err, report = reads
    return {
        out: Stream(protocol.STDOUT, protocol.STDOUT_GAP, header["output_bytes"]),
        err: Stream(protocol.STDERR, protocol.STDERR_GAP, header["output_bytes"]),
        report: Results(header["result_bytes"]),
    }
