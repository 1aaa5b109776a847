"""The guest: the first process inside the sandbox. Forks one child per run and is the only one who writes frames.

It arrives over its own stdin (see `bundle`), so any image with a python3 serves. Standard library only, Python 3.8. It is not
dumpable and ignores signals, so that the code, which has the same user id, can neither read it nor make it speak; it never parses a
byte that the code wrote. It holds the deadline and the caps, kills and wipes after every run, and ends when its host goes away,
also in the middle of a run.

As process 1 of a PID namespace one kill(-1) ends everything. Elsewhere kill(-1) would reach innocent processes: there the guest is
a subreaper and kills its descendants one by one.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import platform
import select
import signal
import stat
import sys
import time
from collections import deque
from importlib.machinery import PathFinder
from typing import Any

from gleitzeit_nb.sandbox import allowances, collecting, metering, preloading, protocol, resident, runner, tunnels, wiping, witness

PR_GET_DUMPABLE, PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER = 3, 4, 36
OUTBOX_BYTES = 256 << 10  # more than this waiting for the host stops reading from the child
KILL_S = 5.0
TICK_S = 60.0


def main(options: str) -> None:
    """`options`: JSON with `work` (where the code runs), `wiped` (emptied after each run), `preload`, `mounts` and `packages`."""
    for name in [name for name in sys.modules if name.startswith("gleitzeit_nb")]:
        del sys.modules[name]  # the code shall not find the guest by importing
    settings = json.loads(options)
    guest = Guest(settings["work"], settings["wiped"])
    guest.mounts = settings["mounts"]
    guest.packages = [path for path in settings["packages"] if os.path.isdir(path)]
    guest.preload(settings["preload"])
    gc.collect()
    gc.freeze()
    guest.serve()


class Guest:
    def __init__(self, work: str, wiped: list[str]) -> None:
        self.first = os.getpid() == 1
        self.work = work
        self.wiped = {path: stat.S_IMODE(os.stat(path).st_mode) for path in wiped if os.path.realpath(path) != "/" and os.path.isdir(path)}
        libc = ctypes.CDLL(None, use_errno=True)
        self.prctl: runner.Prctl = lambda option, value: libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0)
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
        self.inbox: deque[tuple[bytes, bytes]] = deque()
        self.outbox = bytearray()
        self.preloaded: dict[str, Any] = {}
        self.mounts: list[str] = []
        self.packages: list[str] = []  # for the code alone: process 1 never imports from there
        self.nature = witness.nature()
        self.meter = metering.Meter()
        self.known: dict[str, tuple[int, ...]] = {}  # what was in the work directory before the run, where its files are asked for
        self.network: tunnels.Tunnels | None = None  # while a run that may have one goes on
        self.streams = 1  # the number of the next one; none is used twice
        self.outbox_bytes = OUTBOX_BYTES
        self.resident: resident.Resident | None = None  # of a session, to which this guest then belongs

    def preload(self, names: list[str]) -> None:
        """What the modules wrote while they were imported is wiped, as after a run."""
        if names:
            self.preloaded = preloading.load(names)
            self.wipe()
            self.nature = witness.nature()

    # -- frames -----------------------------------------------------------------------------------------------------------

    def serve(self) -> None:
        self.post(protocol.json_frame(protocol.READY, self.facts()))
        while True:
            kind, payload = self.receive()
            if kind == protocol.RUN:
                header = json.loads(payload)
                blobs = [self.blob(size) for size in header["blobs"]]
                self.known = collecting.everything(self.work) if header["artifacts"] else {}
                fault = self.take_files(header["files"], header["artifacts"])
                if fault:  # the files of a session may be its own doing: then it is over
                    clean = self.resident is None and self.wipe()
                    self.post(protocol.json_frame(protocol.EXIT, {"fault": fault, "clean": clean}))
                elif header.get("session"):
                    self.run_in_session(header, blobs)
                else:
                    self.run(header, blobs)

    def post(self, data: bytes) -> None:
        self.outbox += data
        self.flush()

    def flush(self) -> None:
        try:
            while self.outbox:
                del self.outbox[: os.write(1, memoryview(self.outbox)[: protocol.CHUNK_BYTES].tobytes())]
        except BlockingIOError:
            return
        except OSError:
            self.leave()

    def receive(self) -> tuple[bytes, bytes]:
        while not self.inbox:
            self.wait(TICK_S, [])
        return self.inbox.popleft()

    def blob(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            kind, payload = self.receive()
            if kind != protocol.BLOB:
                self.leave()
            data += payload
        return bytes(data)

    def take_files(self, files: list[tuple[str, int]], noted: bool) -> str:
        """Write the files that follow into the work directory as they come. Returns why one could not be written.

        `noted`: as they are now, they are not among what the code leaves.
        """
        fault = ""
        for name, size in files:
            descriptor = -1
            try:
                descriptor = -1 if fault else collecting.create(self.work, name)
            except OSError as exc:
                fault = f"the file {name!r} could not be made there: {exc.strerror}"
            while size > 0:
                piece = self.blob(min(size, protocol.BLOB_BYTES))
                size -= len(piece)
                try:
                    while piece and not fault:
                        piece = piece[os.write(descriptor, piece) :]
                except OSError as exc:
                    fault = f"the file {name!r} could not be written there: {exc.strerror}"
            if noted and not fault:
                self.known[name] = collecting.mark(os.fstat(descriptor))
            if descriptor >= 0:
                os.close(descriptor)
        return fault

    def wait(self, timeout_s: float, fds: list[int], feeding: int | None = None) -> list[int]:
        """Wait for the host, for a child's end, for `fds`, or to be able to write to `feeding`; serve host and signals.

        Returns those of `fds` and `feeding` that have news.
        """
        poll = select.poll()
        if feeding is not None:
            poll.register(feeding, select.POLLOUT)
        for fd in [0, self.wakeup, *fds]:
            poll.register(fd, select.POLLIN)
        if self.outbox:
            poll.register(1, select.POLLOUT)
        if self.network is not None:
            for fd, events in self.network.interest(len(self.outbox) < OUTBOX_BYTES).items():
                poll.register(fd, events)
        ready = [fd for fd, _ in poll.poll(int(max(0.0, min(timeout_s, TICK_S)) * 1000) + 1)]
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
        pipes = [os.pipe() for _ in range(3)]
        try:
            self.network = tunnels.begin(header.get("network"), self.streams)
            child = os.fork()
        except OSError as exc:
            fault = f"no process or network could be started: {exc.strerror or exc}"
            self.post(protocol.json_frame(protocol.EXIT, {"fault": fault, "clean": False}))
            return
        if child == 0:
            self.be_child(header, blobs, [write for _, write in pipes])
        blobs.clear()
        output = self.output_of([read for read, _ in pipes], header)
        for read, write in pipes:
            os.close(write)
            os.set_blocking(read, False)
        ended: dict[int, int] = {}
        reason = self.watch(child, output, started + header["timeout_s"], ended)
        run_s = time.monotonic() - started
        self.end_network()
        clean = self.kill_all(ended)
        for read, stream in output.items():
            while self.drain(read, stream):
                pass
            os.close(read)
            for piece in stream.end():
                self.outbox += piece
        if header["artifacts"] and reason != "cancel":
            self.send_files(header)
        clean = self.wipe() and clean and witness.nature() == self.nature
        status = ended.get(child)
        content = {"reason": reason, "exit_code": runner.exit_code_of(status), "run_s": run_s, "clean": clean, **self.meter.report()}
        self.post(protocol.json_frame(protocol.EXIT, content))

    def run_in_session(self, header: dict[str, Any], blobs: list[bytes]) -> None:
        try:
            self.resident = self.resident or resident.Resident(self, header)
            self.network = tunnels.begin(header.get("network"), self.streams, self.resident.port)
        except OSError as exc:
            fault = f"no process or network could be started: {exc.strerror or exc}"
            self.post(protocol.json_frame(protocol.EXIT, {"fault": fault, "clean": False}))
            return
        if self.network is not None:
            self.resident.port = header["port"] = self.network.port
        if not self.resident.run(header, blobs):
            self.resident = None

    def output_of(self, reads: list[int], header: dict[str, Any]) -> dict[int, allowances.Stream | allowances.Results]:
        """What becomes of each pipe of a run: stdout, stderr, and the report."""
        out, err, report = reads
        return {
            out: allowances.Stream(protocol.STDOUT, protocol.STDOUT_GAP, header["output_bytes"]),
            err: allowances.Stream(protocol.STDERR, protocol.STDERR_GAP, header["output_bytes"]),
            report: allowances.Results(header["result_bytes"]),
        }

    def send_files(self, header: dict[str, Any]) -> None:
        """What the code left in its work directory, no faster than the host takes it."""
        room = header["artifact_bytes"]  # what is still written to in a session may have grown since it was measured
        for name, descriptor, reason in collecting.left_by_code(self.work, self.known, header["artifact_bytes"], header["artifact_files"]):
            if descriptor < 0:
                self.post(protocol.json_frame(protocol.LEFT_OUT, {"name": name, "reason": reason}))
                continue
            self.post(protocol.json_frame(protocol.FILE, {"name": name}))
            left = min(room, os.fstat(descriptor).st_size)
            while left > 0:
                piece = os.read(descriptor, min(left, protocol.CHUNK_BYTES))
                if not piece:
                    break
                left, room = left - len(piece), room - len(piece)
                self.post(protocol.frame(protocol.FILE_DATA, piece))
                while len(self.outbox) > OUTBOX_BYTES:
                    self.wait(TICK_S, [])
            os.close(descriptor)

    def be_child(self, header: dict[str, Any], blobs: list[bytes], writes: list[int]) -> None:
        status = 1
        leave = os._exit
        try:
            if self.network is not None:
                tunnels.Announced()(self.network.port)
            runner.become_child(writes[0], writes[1], writes[2], self.work, header["rlimits"], self.prctl)
            preloading.offer(self.packages)
            self.outbox.clear()
            status = runner.run(header, blobs[0], blobs[1:])
        finally:
            leave(status)

    def watch(self, child: int, streams: dict[int, allowances.Stream | allowances.Results], deadline: float, ended: dict[int, int]) -> str:
        """Pass output on until the child ends, the time is up or the host says so. Returns "end", "timeout" or "cancel"."""
        open_fds = list(streams)
        while True:
            self.reap(ended)
            if child in ended:
                return "end"
            left = deadline - time.monotonic()
            if left <= 0:
                return "timeout"
            for fd in self.wait(left, open_fds if len(self.outbox) < OUTBOX_BYTES else []):
                if not self.drain(fd, streams[fd]) and streams[fd].ended:
                    open_fds.remove(fd)
            if self.heed():
                return "cancel"

    def heed(self) -> bool:
        """What the host sent during a run. True when it wants the end of it."""
        while self.inbox:
            kind, payload = self.inbox.popleft()
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
            self.outbox += piece
            self.flush()
        return True

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
        status = witness.status()
        return {
            "pid": os.getpid(),
            "uid": os.getuid(),
            "capabilities_bounding": status.get("CapBnd"),
            "capabilities_effective": status.get("CapEff"),
            "no_new_privs": status.get("NoNewPrivs"),
            "seccomp": status.get("Seccomp"),
            "dumpable": self.prctl(PR_GET_DUMPABLE, 0),
            "read_only_root": bool(os.statvfs("/").f_flag & os.ST_RDONLY),
            "interfaces": witness.interfaces(),
            "python": platform.python_version(),
            "packages": [name for name in ("numpy", "pandas") if PathFinder.find_spec(name, self.packages + sys.path)],
            "wiped": sorted(self.wiped),
            "mounts": witness.mounts(self.mounts),
            "python_in_mount": witness.python_in(self.mounts),
            **self.preloaded,
        }
