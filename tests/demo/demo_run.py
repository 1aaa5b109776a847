"""The demo as a process of its own, watched line by line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent.parent
LIMIT_S = 180.0


def command_line(process: psutil.Process) -> str:
    """Its words in one text; none when it has ended, though it be a zombie that nobody collects."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


class DemoRun:
    """`python notebooks/demo.py`, its output so far, and the processes below it."""

    def __init__(self, output: Path, **environment: str) -> None:
        self.folder = output
        self.text = ""
        self.seen: dict[int, psutil.Process] = {}
        command = [sys.executable, "-u", str(ROOT / "notebooks" / "demo.py"), "--output", str(output)]
        self._process = subprocess.Popen(
            command,
            cwd=output,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.text += line

    def until(self, words: str, limit_s: float = LIMIT_S) -> None:
        """Wait for output that contains `words`."""
        end = time.monotonic() + limit_s
        while words not in self.text:
            self.look()
            assert self._process.poll() is None, f"the demo ended before it said {words!r}:\n{self.text}"
            assert time.monotonic() < end, f"the demo did not say {words!r} in time:\n{self.text}"
            time.sleep(0.05)

    def look(self) -> list[psutil.Process]:
        """Everything that runs below the demo now; remembered for `leftovers`."""
        try:
            below = psutil.Process(self._process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []
        self.seen.update({process.pid: process for process in below})
        return below

    def find_all(self, *words: str) -> list[psutil.Process]:
        """The processes below the demo whose command lines hold all `words`; one that is just ending is none of them."""
        return [process for process in self.look() if all(word in command_line(process) for word in words)]

    def find(self, *words: str) -> psutil.Process:
        """The first of them."""
        for process in self.find_all(*words):
            return process
        raise LookupError(f"no process below the demo has {words} in its command line")

    def interrupt(self) -> None:
        self._process.send_signal(signal.SIGINT)

    def end(self, limit_s: float = LIMIT_S) -> int:
        """Wait for its end; the exit status."""
        end = time.monotonic() + limit_s
        while self._process.poll() is None:
            self.look()
            if time.monotonic() > end:
                self.kill()
                raise AssertionError(f"the demo did not end within {limit_s} s:\n{self.text}")
            time.sleep(0.05)
        self._reader.join(5)
        return self._process.returncode

    def leftovers(self) -> list[str]:
        """What ran below the demo and still runs."""
        end, alive = time.monotonic() + 5, list(self.seen.values())
        while (alive := [each for each in alive if each.is_running() and command_line(each)]) and time.monotonic() < end:
            time.sleep(0.05)
        return [f"{process.pid} {command_line(process)[:80]}" for process in alive]

    def kill(self) -> None:
        """For a test that has failed: leave nothing."""
        for process in [*self.look(), *self.seen.values()]:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        self._process.kill()
        self._process.wait()
        self._reader.join()
        if self._process.stdout is not None:
            self._process.stdout.close()
