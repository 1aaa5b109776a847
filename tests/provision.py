"""`make test`: sets up what the suite needs and is missing here, runs it, and stops what it started.

As root on Debian or Ubuntu it installs packages and starts a Docker daemon; elsewhere it says what is missing and goes on, and
the tests that need it skip with their reason. Every step prints one line with its seconds.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache"
SCRIPTS = Path(sys.executable).parent
STEPS_FILE = CACHE / "steps.tsv"
PROGRAMS = {
    "dockerd": "docker.io",  # also where another daemon answers: a test starts and kills one of its own
    "debootstrap": "debootstrap",
    "podman": "podman",  # the sandbox keeps its promises on it too
    "chromium": "chromium",
    "curl": "curl",  # the guide looks at servers with it
    "openssl": "openssl",  # makes the certificates of the tests' own servers
}
LIBRARIES = {"libatomic.so.1": "libatomic1"}  # Playwright's own Node is linked to it
FILES = {
    "/usr/bin/python3": "python3",  # for a test that acts as another user, whom this environment's Python may be closed to
    "/usr/share/fonts/truetype/dejavu": "fonts-dejavu-core",
    "/usr/include/linux/seccomp.h": "linux-libc-dev",  # the kernel's own list of system calls, for a test of the sandbox's
}
DAEMON_START_S = 60
DAEMON_STOP_S = 30


class StepError(Exception):
    """A step that could not be done here. The message says why, and what a person could do."""


class Steps:
    """Runs named steps, prints a line for each, and keeps their seconds for the list of the slowest."""

    def __init__(self, record: Path) -> None:
        self._record = record
        record.parent.mkdir(exist_ok=True)
        record.write_text("")

    def run(self, name: str, work: Callable[[], str]) -> None:
        """`work` returns what it did, in a few words. A step that fails does not stop the others."""
        started = time.monotonic()
        try:
            outcome = work()
        except (StepError, OSError, subprocess.SubprocessError) as exc:
            outcome = f"NOT DONE: {exc}"
        seconds = time.monotonic() - started
        print(f"{name:<16} {seconds:6.1f} s  {outcome}", flush=True)
        with self._record.open("a") as file:
            file.write(f"{seconds:.2f}\tprovision: {name}\n")


def run_quietly(name: str, command: Sequence[str | Path], **environment: str) -> None:
    """Output goes to a file of its own; its end is shown when the command fails."""
    log = CACHE / f"{name}.log"
    with log.open("ab") as output:
        done = subprocess.run(
            list(map(str, command)),
            cwd=ROOT,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            check=False,
        )
    if done.returncode != 0:
        raise StepError(f"{' '.join(map(str, command[:3]))} … ended with status {done.returncode}; see {log}\n{tail(log)}")


def tail(log: Path, lines: int = 8) -> str:
    return "\n".join(f"    {line}" for line in log.read_text(errors="replace").splitlines()[-lines:])


def may_install() -> bool:
    return os.geteuid() == 0 and bool(shutil.which("apt-get"))


def daemon_answers() -> bool:
    import docker

    with contextlib.suppress(docker.errors.DockerException):
        client = docker.from_env(timeout=10)
        try:
            return bool(client.ping())
        finally:
            client.close()
    return False


def missing_packages() -> list[str]:
    packages = [package for program, package in PROGRAMS.items() if not shutil.which(program)]
    packages += [package for library, package in LIBRARIES.items() if not loads(library)]
    return packages + [package for path, package in FILES.items() if not Path(path).exists()]


def loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def install_packages() -> str:
    packages = missing_packages()
    if not packages:
        return "all there"
    if not may_install():
        raise StepError(f"missing: {', '.join(packages)}. As root on Debian or Ubuntu: apt-get install {' '.join(packages)}")
    apt = ("apt-get", "-y", "-qq")
    run_quietly("apt", [*apt, "update"], DEBIAN_FRONTEND="noninteractive")
    run_quietly("apt", [*apt, "install", "--no-install-recommends", *packages], DEBIAN_FRONTEND="noninteractive")
    return f"installed {', '.join(packages)}"


class DockerDaemon:
    """A Docker daemon for the time of the tests. One that already answers is used as it is, and never stopped."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> str:
        if daemon_answers():
            return "answers already"
        if os.geteuid() != 0 or not shutil.which("dockerd"):
            raise StepError("no Docker daemon answers, and this user cannot start one (root and dockerd are needed)")
        log = CACHE / "dockerd.log"
        with log.open("wb") as output:
            # A session of its own: an Interrupt at the terminal is for pytest, and the daemon is stopped afterwards.
            self._process = subprocess.Popen(["dockerd"], stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)
        limit = time.monotonic() + DAEMON_START_S
        while not daemon_answers():
            if self._process.poll() is not None:
                status, self._process = self._process.returncode, None
                raise StepError(f"dockerd ended with status {status}; see {log}\n{tail(log)}")
            if time.monotonic() > limit:
                self.stop()
                raise StepError(f"dockerd did not answer within {DAEMON_START_S} s; see {log}\n{tail(log)}")
            time.sleep(0.2)
        return f"started, pid {self._process.pid}"

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(DAEMON_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        print(f"Stopped the Docker daemon that this run had started (pid {self._process.pid}).", flush=True)
        self._process = None

    @contextlib.contextmanager
    def for_a_while(self) -> Iterator[DockerDaemon]:
        try:
            yield self
        finally:
            self.stop()


def build_images() -> str:
    if not daemon_answers():
        raise StepError("no Docker daemon answers")
    run_quietly("image", [SCRIPTS / "gleitzeit-nb", "images", "build"])
    run_quietly("image", [SCRIPTS / "gleitzeit-nb", "images", "build", "datascience"])
    return "ready"


def fetch_model() -> str:
    run_quietly("model", [SCRIPTS / "gleitzeit-nb", "embedded", "fetch"])
    return "ready"


def build_labextension() -> str:
    run_quietly("labextension", [sys.executable, ROOT / "labextension" / "build.py", "link"])
    return "ready"


def run_tests(arguments: list[str]) -> int:
    """Everything by two workers, a file at a time each: most tests wait for a process or a clock, not for a processor."""
    command = [sys.executable, "-m", "pytest", "-q", "-rfEs", "-n", "2", "--dist", "loadfile", f"--steps={STEPS_FILE}"]
    notebooks = ["--nbval", "--nbval-current-env", "--nbval-sanitize-with", "notebooks/sanitize.cfg", "tests", "notebooks"]
    return subprocess.run([*command, *(arguments or notebooks)], cwd=ROOT, check=False).returncode


def main() -> int:
    steps = Steps(STEPS_FILE)
    with DockerDaemon().for_a_while() as daemon:
        steps.run("Debian packages", install_packages)
        steps.run("Docker daemon", daemon.start)
        steps.run("images", build_images)
        steps.run("small model", fetch_model)
        steps.run("side panel", build_labextension)
        return run_tests(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
