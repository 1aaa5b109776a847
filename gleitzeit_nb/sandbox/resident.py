"""A session inside the sandbox: the process that stays between runs, and the guest's hold on it.

Travels to the guest with its source: standard library only, Python 3.8. The guest feeds the process through a pipe, hears through
another that a run has ended, and stays the one that holds the deadline and kills. What the process says is the code's own word: it can
only lie about itself. Between runs nobody reads what it writes; that comes with the next run.
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # without the enumerations of the module around it
import os
import sys
import time

from gleitzeit_nb.sandbox import allowances, carrying, feeding, metering, preloading, protocol, runner, tunnels

DONE_FD = feeding.COMMANDS_FD + 1
LAST_READS = 64  # of what was written before the run ended: more would be written meanwhile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gleitzeit_nb.sandbox.guest import Guest


class Resident:
    """The guest's side. Raises OSError when no process can be started."""

    def __init__(self, guest: Guest, header: dict[str, Any]) -> None:
        self.guest = guest
        self.ended: dict[int, int] = {}
        self.port = 0  # of the proxy: the programs of a session find it where it was
        pipes = [os.pipe() for _ in range(5)]
        try:
            self.child = os.fork()
        except OSError:
            feeding.close(fd for pipe in pipes for fd in pipe)
            raise
        if self.child == 0:
            _become(guest, pipes, header)
        self.commands = pipes[4][1]
        self.reads = [read for read, _ in pipes[:3]]
        self.done = pipes[3][0]
        for fd in [pipes[4][0], *(write for _, write in pipes[:4])]:
            os.close(fd)
        for fd in [self.commands, self.done, *self.reads]:
            os.set_blocking(fd, False)

    def run(self, header: dict[str, Any], blobs: list[bytes]) -> bool:
        """One run, with its frames and its EXIT. False when the process has ended, and everything else with it."""
        started = time.monotonic()
        self.guest.meter, before = metering.Meter(), metering.of_process(self.child)
        streams = allowances.of_run(self.reads, header)
        self.guest.reap(self.ended)
        if self.child in self.ended:
            self._over(streams, {"fault": "the process of the session ended between two runs"})
            return False
        reason, code = self._attend(feeding.message(header, blobs), streams, header, started + header["timeout_s"])
        self.guest.end_network()
        content = {"reason": reason, "exit_code": code, "run_s": time.monotonic() - started}
        if code is None:
            content["cpu_before_s"] = before.cpu_s
            self._over(streams, content, header["artifacts"] and reason != "cancel" and header)
            return False
        for fd, stream in streams.items():
            for _ in range(LAST_READS):
                if not self.guest.drain(fd, stream):
                    break
            for piece in stream.end():
                self.guest.outbox += piece
        if header["artifacts"] and reason != "cancel":
            carrying.send(self.guest, header)
        used = metering.of_process(self.child).report(before.cpu_s)
        self.guest.post(protocol.json_frame(protocol.EXIT, {**content, **used, "clean": True, "alive": True}))
        return True

    def _attend(self, feed: memoryview, streams: dict[int, Any], header: dict[str, Any], deadline: float) -> tuple[str, int | None]:
        """Feed the process and pass its output on until it has done. (reason, exit code); None: the process has to go, or has gone.

        A cancelled run is interrupted first, as Ctrl-C would, and loses its process only when it does not yield.
        """
        guest, reason = self.guest, "end"
        open_fds = [*streams, self.done]
        while True:
            guest.reap(self.ended)
            left = deadline - time.monotonic()
            if self.child in self.ended:
                return reason, None
            if left <= 0:
                return ("timeout" if reason == "end" else reason), None
            held_up = len(guest.outbox) >= guest.outbox_bytes
            for fd in guest.wait(left, [self.done] if held_up else open_fds, self.commands if feed else None):
                if fd == self.done:
                    said = os.read(fd, 1)
                    if said:
                        return reason, said[0]
                    open_fds.remove(fd)  # the code closed it: then only the deadline or its end ends the run
                elif fd == self.commands:
                    feed = feeding.give(fd, feed)
                elif not guest.drain(fd, streams[fd]) and streams[fd].ended:
                    open_fds.remove(fd)
            if guest.heed():
                reason, deadline = "cancel", min(deadline, time.monotonic() + header["grace_s"])
                os.kill(self.child, signal.SIGINT)

    def _over(self, streams: dict[int, Any], content: dict[str, Any], files: Any = None) -> None:
        """`files`: the header of a run whose files are asked for."""
        guest = self.guest
        clean = guest.kill_all(self.ended)
        for fd, stream in streams.items():
            while guest.drain(fd, stream):
                pass
            for piece in stream.end():
                guest.outbox += piece
        for fd in [self.commands, self.done, *self.reads]:
            os.close(fd)
        if files:
            carrying.send(guest, files)
        clean = guest.wipe() and clean
        code = runner.exit_code_of(self.ended.get(self.child))
        used = guest.meter.report(content.pop("cpu_before_s", 0.0))
        guest.post(protocol.json_frame(protocol.EXIT, {**content, **used, "exit_code": code, "clean": clean, "alive": False}))


# -- the process ------------------------------------------------------------------------------------------------------------------


def _become(guest: Guest, pipes: list[tuple[int, int]], header: dict[str, Any]) -> None:
    leave = os._exit
    try:
        ends = [pipes[0][1], pipes[1][1], pipes[2][1], pipes[4][0], pipes[3][1]]
        out, err, report, commands, done = feeding.aside(ends)
        runner.become_child(out, err, report, guest.work, guest.prctl, (commands, done))
        runner.limit(header["rlimits"])
        preloading.offer(guest.packages)
        guest.outbox.clear()
        serve()
    finally:
        leave(1)


def serve() -> None:
    """Run after run in one namespace, until the guest closes the pipe."""
    write, handle, ignore = os.write, signal.signal, signal.SIG_IGN
    namespace, announced = runner.fresh_main(), tunnels.Announced()
    runner.reseed()
    runner.awaiting = CellLoop()
    handle(signal.SIGINT, ignore)  # between two runs there is nothing to interrupt
    while True:
        header, code, inputs = feeding.take()
        announced(header.get("port"))
        status = 1
        try:
            handle(signal.SIGINT, signal.default_int_handler)
            status = runner.run_cell(header, code, inputs, namespace)
            handle(signal.SIGINT, ignore)
        except KeyboardInterrupt:  # at the very end of the run
            handle(signal.SIGINT, ignore)
        runner.flush()
        write(DONE_FD, bytes([status & 0xFF]))


class CellLoop:
    """One event loop for all cells of a session, so that what one of them made can be awaited in the next."""

    def __init__(self) -> None:
        self.loop: Any = None

    def __call__(self, work: Any) -> Any:
        asyncio: Any = sys.modules.get("asyncio") or __import__("asyncio")
        if self.loop is None or self.loop.is_closed():
            self.loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self.loop)
        task = self.loop.create_task(work)
        try:
            return self.loop.run_until_complete(task)
        except BaseException:
            if not task.done():
                task.cancel()
                self.loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
            raise
