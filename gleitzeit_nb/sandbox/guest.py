"""The guest: the first process inside the sandbox. Forks one child per run and is the only one who writes frames.

It arrives over its own stdin (see `bundle`), so any image with a python3 serves. Standard library only, Python 3.8. It is not
dumpable and ignores signals, so that the code, which has the same user id, can neither read it nor make it speak; it never parses a
byte that the code wrote. It holds the deadline and the caps, kills and wipes after every run, and ends when its host goes away,
also in the middle of a run.

As process 1 of a PID namespace one kill(-1) ends everything. Elsewhere kill(-1) would reach innocent processes: there the guest is
a subreaper and kills its descendants one by one.
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # without the enumerations of the module around it
import os
import select
import stat
import sys
import time

from gleitzeit_nb.sandbox import (
    allowances,
    carrying,
    collecting,
    feeding,
    libc,
    metering,
    preloading,
    protocol,
    resident,
    runner,
    tunnels,
    wiping,
    witness,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PR_GET_DUMPABLE, PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER = 3, 4, 36
OUTBOX_BYTES = 256 << 10  # more than this waiting for the host stops reading from the child
KILL_S = 5.0
TICK_S = 60.0
SETTLED_S = 0.2  # a guest that has waited so long for its first run was made ahead
LINGER_MS = 2


def main(settings: dict[str, Any]) -> None:
    """`settings`: `work` (where the code runs), `wiped` (emptied after each run), `preload`, `mounts` and `packages`."""
    for name in [name for name in sys.modules if name.startswith("gleitzeit_nb")]:
        del sys.modules[name]  # the code shall not find the guest by importing
    guest = Guest(settings["work"], settings["wiped"])
    guest.mounts = settings["mounts"]
    guest.packages = [path for path in settings["packages"] if os.path.isdir(path)]
    guest.preload(settings["preload"])
    guest.serve()


class Guest:
    def __init__(self, work: str, wiped: list[str]) -> None:
        self.first = os.getpid() == 1
        self.work = work
        self.wiped = {path: stat.S_IMODE(os.stat(path).st_mode) for path in wiped if os.path.realpath(path) != "/" and os.path.isdir(path)}
        self.prctl: runner.Prctl = lambda option, value: libc.call("prctl", option, value, 0, 0, 0)
        self.prctl(PR_SET_DUMPABLE, 0)
        if not self.first:
            self.prctl(PR_SET_CHILD_SUBREAPER, 1)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        # A child's end must wake poll(), on every kernel and Python: the handler does nothing, its wakeup byte does.
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self.wakeup, wake = os.pipe()
        for fd in (self.wakeup, wake, 1):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        self.reader = protocol.FrameReader(protocol.TO_GUEST)
        self.inbox: list[tuple[bytes, bytes]] = []
        self.outbox = bytearray()
        self.held_since = 0.0  # when the first of what waits in it to be sent together came; 0: nothing is held back
        self.spare: feeding.Process | None = None  # forked ahead, for the next run
        self.preloaded: dict[str, Any] = {}
        self.mounts: list[str] = []
        self.packages: list[str] = []  # for the code alone: process 1 never imports from there
        self.furnished = False
        self.nature = witness.nature()
        self.meter = metering.Meter()
        self.known: dict[str, tuple[int, ...]] = {}  # what was in the work directory before the run, where its files are asked for
        self.network: tunnels.Tunnels | None = None  # while a run that may have one goes on
        self.streams = 1  # the number of the next one; none is used twice
        self.outbox_bytes = OUTBOX_BYTES
        self.tick_s = TICK_S
        self.resident: resident.Resident | None = None  # of a session, to which this guest then belongs

    def preload(self, names: list[str]) -> None:
        """What the modules wrote while they were imported is wiped, as after a run."""
        if names:
            self.preloaded = preloading.load(names)
            self.furnish()
            self.wipe()
            self.nature = witness.nature()

    # -- frames -----------------------------------------------------------------------------------------------------------

    def serve(self) -> None:
        self.post(protocol.plain_frame(protocol.READY, self.facts()))
        self.prepare()
        while True:
            kind, payload = self.receive()
            if kind == protocol.RUN:
                header = protocol.run_header(payload)
                blobs = [self.blob(size) for size in header["blobs"]]
                self.known = collecting.everything(self.work) if header["artifacts"] else {}
                fault = carrying.take(self, header["files"], header["artifacts"])
                if fault:  # the files of a session may be its own doing: then it is over
                    clean = self.resident is None and self.wipe()
                    self.post(protocol.plain_frame(protocol.EXIT, {"fault": fault, "clean": clean}))
                elif header.get("session"):
                    self.run_in_session(header, blobs)
                else:
                    self.run(header, blobs)

    def post(self, data: bytes) -> None:
        self.outbox += data
        self.flush()

    def flush(self) -> bool:
        """False when the host does not take everything now."""
        self.held_since = 0.0
        try:
            while self.outbox:
                del self.outbox[: os.write(1, memoryview(self.outbox)[: protocol.CHUNK_BYTES].tobytes())]
        except BlockingIOError:
            return False
        except OSError:
            self.leave()
        return True

    def receive(self) -> tuple[bytes, bytes]:
        while not self.inbox:
            bare = not self.furnished and self.resident is None  # a session's process has been forked, and stays as it is
            self.wait(SETTLED_S if bare else TICK_S, [])
            if bare and not (self.inbox or self.reader.pending):
                self.furnish()
                self.prepare()
        return self.inbox.pop(0)

    def blob(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            kind, payload = self.receive()
            if kind != protocol.BLOB:
                self.leave()
            data += payload
        return bytes(data)

    def wait(self, timeout_s: float, fds: list[int], feeding: int | None = None) -> list[int]:
        """Wait for the host, for a child's end, for `fds`, or to be able to write to `feeding`; serve host and signals.

        Returns those of `fds` and `feeding` that have news.
        """
        poll = select.poll()
        if feeding is not None:
            poll.register(feeding, select.POLLOUT)
        for fd in [0, self.wakeup, *fds]:
            poll.register(fd, select.POLLIN)
        if self.outbox and not self.held_since:
            poll.register(1, select.POLLOUT)
        if self.network is not None:
            for fd, events in self.network.interest(len(self.outbox) < OUTBOX_BYTES).items():
                poll.register(fd, events)
        timeout_ms = int(max(0.0, min(timeout_s, TICK_S)) * 1000) + 1
        found = poll.poll(min(timeout_ms, LINGER_MS)) if self.held_since else []
        if not found:
            if self.held_since and not self.flush():
                poll.register(1, select.POLLOUT)
            found = poll.poll(timeout_ms)
        ready = [fd for fd, _ in found]
        if 1 in ready:
            self.flush()
        if self.wakeup in ready:
            os.read(self.wakeup, 4096)
        if 0 in ready:
            data = os.read(0, protocol.CHUNK_BYTES)
            if not data:
                self.leave()
            self.inbox.extend(self.reader.feed(data))
        if self.network is not None:
            for fd in ready:
                self.outbox += self.network.serve(fd)
            self.flush()
        return [fd for fd in ready if fd in fds or fd == feeding]

    def leave(self) -> None:
        """The host has gone: leave nothing behind."""
        self.kill_all({})
        self.wipe()
        os._exit(0)

    # -- one run ----------------------------------------------------------------------------------------------------------

    def run(self, header: dict[str, Any], blobs: list[bytes]) -> None:
        started = time.monotonic()
        self.meter = metering.Meter()
        try:
            self.network = tunnels.begin(header.get("network"), self.streams)
            process = self.ready_process()
        except OSError as exc:
            fault = f"no process or network could be started: {exc.strerror or exc}"
            self.post(protocol.plain_frame(protocol.EXIT, {"fault": fault, "clean": False}))
            return
        output = allowances.of_run(process.reads, header)
        ended: dict[int, int] = {}
        reason = self.watch(process, feeding.message(header, blobs), output, started + header["timeout_s"], ended)
        run_s = time.monotonic() - started
        self.end_network()
        clean = self.kill_all(ended)
        for read, stream in output.items():
            while self.drain(read, stream):
                pass
            for piece in stream.end():
                self.outbox += piece
        process.close()
        if header["artifacts"] and reason != "cancel":
            carrying.send(self, header)
        clean = self.wipe() and clean and witness.nature() == self.nature
        status = ended.get(process.pid)
        content = {"reason": reason, "exit_code": runner.exit_code_of(status), "run_s": run_s, "clean": clean, **self.meter.report()}
        self.post(protocol.plain_frame(protocol.EXIT, content))
        self.furnish()
        self.prepare()

    def furnish(self) -> None:
        """Have imported what many runs need: once, and not while the first run waits."""
        if not self.furnished:
            self.furnished = True
            spare, self.spare = self.spare, None
            self.dismiss(spare)
            preloading.furnish()

    def prepare(self) -> None:
        """Have the next run's process there before the run is; nothing of an earlier one is left by now."""
        try:
            self.spare = self.fork()
        except OSError:
            self.spare = None  # then the run tries again, and says so

    def ready_process(self) -> feeding.Process:
        """The spare one, unless it has ended or the run has a network, which a process must find at its start. Raises OSError."""
        spare, self.spare = self.spare, None
        if spare is None:
            return self.fork()
        ended: dict[int, int] = {}
        self.reap(ended)
        if spare.pid not in ended and self.network is None:
            return spare
        self.dismiss(spare)
        return self.fork()

    def dismiss(self, spare: feeding.Process | None) -> None:
        if spare is not None:
            spare.close()  # it ends with its pipe
            self.kill_all({})

    def fork(self) -> feeding.Process:
        pipes = [os.pipe() for _ in range(4)]
        try:
            child = os.fork()
        except OSError:
            feeding.close(fd for pipe in pipes for fd in pipe)
            raise
        if child == 0:
            feeding.live(self, pipes)
        return feeding.Process(child, pipes)

    def run_in_session(self, header: dict[str, Any], blobs: list[bytes]) -> None:
        spare, self.spare = self.spare, None
        self.dismiss(spare)
        try:
            self.resident = self.resident or resident.Resident(self, header)
            self.network = tunnels.begin(header.get("network"), self.streams, self.resident.port)
        except OSError as exc:
            fault = f"no process or network could be started: {exc.strerror or exc}"
            self.post(protocol.plain_frame(protocol.EXIT, {"fault": fault, "clean": False}))
            return
        if self.network is not None:
            self.resident.port = header["port"] = self.network.port
        if not self.resident.run(header, blobs):
            self.resident = None

    def watch(
        self,
        process: feeding.Process,
        feed: memoryview,
        output: dict[int, allowances.Stream | allowances.Results],
        deadline: float,
        ended: dict[int, int],
    ) -> str:
        """Feed the process and pass its output on until it ends, the time is up or the host says so: "end", "timeout" or "cancel"."""
        open_fds = list(output)
        feed = feeding.give(process.commands, feed)
        while True:
            self.reap(ended)
            if process.pid in ended:
                return "end"
            left = deadline - time.monotonic()
            if left <= 0:
                return "timeout"
            for fd in self.wait(left, open_fds if len(self.outbox) < OUTBOX_BYTES else [], process.commands if feed else None):
                if fd == process.commands:
                    feed = feeding.give(fd, feed)
                elif not self.drain(fd, output[fd]) and output[fd].ended:
                    open_fds.remove(fd)
            if self.heed():
                return "cancel"

    def heed(self) -> bool:
        """What the host sent during a run. True when it wants the end of it."""
        while self.inbox:
            kind, payload = self.inbox.pop(0)
            if kind == protocol.CANCEL:
                return True
            if self.network is not None:
                self.post(self.network.take(kind, payload))
        return False

    def end_network(self) -> None:
        if self.network is not None:
            self.streams = self.network.next
            self.network.close()
            self.network = None

    def drain(self, fd: int, stream: allowances.Stream | allowances.Results) -> bool:
        """Take what one read gives. False when there is nothing more for now, or for ever (`stream.ended`)."""
        try:
            data = os.read(fd, protocol.CHUNK_BYTES)
        except BlockingIOError:
            return False
        if not data:
            stream.ended = True
            return False
        piece = stream.take(data)
        if piece:
            self.hold(piece)
        return True

    def hold(self, data: bytes) -> None:
        """Send it soon, together with what comes in the same moment: every message wakes three processes on its way to the host."""
        now = time.monotonic()
        self.held_since = self.held_since or now
        self.outbox += data
        if len(self.outbox) >= protocol.CHUNK_BYTES or now - self.held_since > LINGER_MS / 1000:
            self.flush()

    # -- after a run ------------------------------------------------------------------------------------------------------

    def reap(self, ended: dict[int, int]) -> bool:
        """Collect every process that has ended. False when there is no child at all."""
        try:
            while True:
                pid, status, used = os.wait4(-1, os.WNOHANG)
                if pid == 0:
                    return True
                ended[pid] = status
                self.meter.add(used)
        except ChildProcessError:
            return False

    def kill_all(self, ended: dict[int, int]) -> bool:
        """SIGKILL to everything but the guest, and wait until it is gone. False when something would not go."""
        give_up = time.monotonic() + KILL_S
        while True:
            for pid in [-1] if self.first else witness.children():
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            if not self.reap(ended):
                return True
            if time.monotonic() > give_up:
                return False
            time.sleep(0.0005)

    def wipe(self) -> bool:
        """Empty the writable directories. False when something is left."""
        emptied = [wiping.empty_directory(path, mode) for path, mode in self.wiped.items()]
        return all(emptied)

    def facts(self) -> dict[str, Any]:
        """What this process is, as the kernel tells it; the host compares it with what it was promised."""
        return {
            **witness.identity(),
            "dumpable": self.prctl(PR_GET_DUMPABLE, 0),
            "python": sys.version.split()[0],
            "packages": witness.packages(("numpy", "pandas"), self.packages + sys.path),
            "wiped": sorted(self.wiped),
            "mounts": witness.mounts(self.mounts),
            "python_in_mount": witness.python_in(self.mounts),
            **self.preloaded,
        }
