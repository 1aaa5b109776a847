"""Makes or brings up to date this checkout's virtual environment: `python3 tests/provision_venv.py EXTRA…`.

Run by the Makefile with the system's Python, so it uses the standard library only. A stamp inside the environment remembers
what was installed; when it still holds, nothing is run and the network is not touched.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / "gleitzeit-stamp.json"
OLDEST = (3, 10)
ENGINE_LIBRARY = "libgomp.so.1"  # the wheel of llama.cpp expects GCC's OpenMP of the system, which a bare Debian has not
INSTALLED = "GLEITZEIT_INSTALLED"  # tells the second start what the first one installed
CONTAINS = {"dev": {"demo", "labextension"}}  # an extra that was installed satisfies these as well


def key() -> str:
    """Changes when the environment has to be installed again: other requirements, another Python, or a moved checkout."""
    parts = [(ROOT / "pyproject.toml").read_text(), sys.version, str(VENV)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def installed_extras() -> set[str]:
    try:
        stamp = json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return set()
    return set(stamp["extras"]) if stamp.get("key") == key() and (VENV / "bin" / "python").exists() else set()


def satisfies(extras: set[str], wanted: set[str]) -> bool:
    return wanted <= extras.union(*(CONTAINS.get(extra, set()) for extra in extras))


def missing_packages() -> list[str]:
    """Debian's packages for what the system lacks: `ensurepip`, which its Python leaves out, and the library of the model's engine."""
    packages = []
    if not importlib.util.find_spec("ensurepip"):
        packages.append(f"python{sys.version_info.major}.{sys.version_info.minor}-venv")
    if sys.platform == "linux" and not loads(ENGINE_LIBRARY):
        packages.append("libgomp1")
    return packages


def loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def ensure_packages() -> None:
    """Install them as root on Debian or Ubuntu and begin anew, since Python itself may be another by then; else name them."""
    packages = missing_packages()
    if not packages:
        return
    names = " ".join(packages)
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        sys.exit(f"This machine lacks {names}. On Debian or Ubuntu, run as root: apt-get install {names}   (then run make again)")
    if os.environ.get(INSTALLED) == names:
        sys.exit(f"{names} is installed, and yet {sys.executable} does not find what it should bring. Name another: make PYTHON=…")
    print(f"Installing {names} …", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *packages]):
        done = subprocess.run(["apt-get", *command], check=False, env=environment, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"apt-get {' '.join(command)} ended with status {done.returncode}:\n{done.stdout[-500:]}{done.stderr[-1500:]}")
    os.environ[INSTALLED] = names
    os.execv(sys.executable, [sys.executable, *sys.argv])


def make_venv() -> None:
    # Cleared: what an older Python or another place left would not fit.
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], check=True)


def install(extras: set[str]) -> None:
    requirement = f"{ROOT}[{','.join(sorted(extras))}]"
    print(f"Installing into {VENV.name}: {', '.join(sorted(extras))} (once; minutes) …", flush=True)
    command = [str(VENV / "bin" / "python"), "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--editable", requirement]
    # The side panel is built and linked by `labextension/build.py`, where it is wanted.
    subprocess.run(command, check=True, env={**os.environ, "SKIP_JUPYTER_BUILDER": "1"})


def same_python() -> bool:
    """Whether the environment that is there was made by this very Python, at this place."""
    probe = [str(VENV / "bin" / "python"), "-c", "import sys; print(sys.version, sys.prefix)"]
    try:
        answer = subprocess.run(probe, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return False
    return answer.strip() == f"{sys.version} {VENV}".strip()


def main() -> None:
    wanted = set(sys.argv[1:])
    if sys.version_info < OLDEST:
        found = f"{sys.version_info.major}.{sys.version_info.minor}"
        sys.exit(f"Python >= {OLDEST[0]}.{OLDEST[1]} is needed; {sys.executable} is {found}. Name another: make PYTHON=python3.12 …")
    present = installed_extras()
    if satisfies(present, wanted):
        return
    ensure_packages()
    started = time.monotonic()
    try:
        if not same_python() or not (VENV / "bin" / "pip").exists():
            make_venv()
        install(wanted | present)
    except subprocess.CalledProcessError as exc:
        sys.exit(f"Making {VENV.name} failed: {' '.join(map(str, exc.cmd))} ended with status {exc.returncode}.")
    STAMP.write_text(json.dumps({"key": key(), "extras": sorted(wanted | present)}))
    print(f"{VENV.name} is ready after {time.monotonic() - started:.0f} s.", flush=True)


if __name__ == "__main__":
    main()
