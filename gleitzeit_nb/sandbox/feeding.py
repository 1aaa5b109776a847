"""How a run gets from the guest into its process: through a pipe, so that the process can be there before the run is.

Travels to the guest: standard library only, Python 3.8.
"""

from __future__ import annotations

import fcntl
import marshal
import os

from gleitzeit_nb.sandbox import preloading, protocol, runner, tunnels

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from gleitzeit_nb.sandbox.guest import Guest

COMMANDS_FD = protocol.REPORT_FD + 1
ASIDE_FD = 16  # above all numbers that a process of the code gives its descriptors


def message(header: dict[str, Any], blobs: list[bytes]) -> memoryview:
    data = marshal.dumps(header)
    return memoryview(b"".join([len(data).to_bytes(4, "big"), data, *blobs]))


def give(fd: int, data: memoryview) -> memoryview:
    """What is left of `data` after one write; nothing when nobody reads any more."""
    try:
        return data[os.write(fd, data[: protocol.CHUNK_BYTES]) :]
    except BlockingIOError:
        return data
    except OSError:
        return data[:0]  # the process has gone, or the code closed the pipe


def take() -> tuple[dict[str, Any], bytes, list[bytes]]:
    """In the process: the next run's header, code and inputs. Ends the process when the guest closes the pipe."""
    header = marshal.loads(_bytes(int.from_bytes(_bytes(4), "big")))
    code, *inputs = [_bytes(size) for size in header["blobs"]]
    return header, code, inputs


def _bytes(count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        piece = os.read(COMMANDS_FD, min(count - len(data), protocol.BLOB_BYTES))
        if not piece:
            os._exit(0)
        data += piece
    return bytes(data)


def aside(fds: list[int]) -> list[int]:
    """Copies whose numbers are in nobody's way."""
    return [fcntl.fcntl(fd, fcntl.F_DUPFD, ASIDE_FD) for fd in fds]


def live(guest: Guest, pipes: list[tuple[int, int]]) -> None:
    """The life of a process that waits for its run; never returns."""
    status = 1
    leave = os._exit
    try:
        if guest.network is not None:
            tunnels.Announced()(guest.network.port)
        out, err, report, commands = aside([pipes[0][1], pipes[1][1], pipes[2][1], pipes[3][0]])
        runner.become_child(out, err, report, guest.work, guest.prctl, (commands,))
        preloading.offer(guest.packages)
        guest.outbox.clear()
        header, code, inputs = take()
        os.close(COMMANDS_FD)
        runner.limit(header["rlimits"])
        status = runner.run(header, code, inputs)
    finally:
        leave(status)


class Process:
    """One that waits for its run, as the guest holds it. `pipes`: its stdout, stderr and report, and the way to it."""

    def __init__(self, pid: int, pipes: list[tuple[int, int]]) -> None:
        self.pid = pid
        self.reads = [read for read, _ in pipes[:3]]
        self.commands = pipes[3][1]
        for fd in [pipes[3][0], *(write for _, write in pipes[:3])]:
            os.close(fd)
        for fd in [self.commands, *self.reads]:
            os.set_blocking(fd, False)

    def close(self) -> None:
        close([self.commands, *self.reads])


def close(fds: Iterable[int]) -> None:
    for fd in fds:
        os.close(fd)
