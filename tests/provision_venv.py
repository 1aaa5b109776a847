"""Makes or brings up to date this checkout's virtual environment: `python3 tests/provision_venv.py EXTRA…`.

Run by the Makefile with the system's Python, so it uses the standard library only. A stamp inside the environment remembers
what was installed; when it still holds, nothing is run and the network is not touched.
"""

from __future__ import annotations

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


def ensure_venv_module() -> None:
    """Debian's Python leaves `ensurepip` to a package of its own."""
    if importlib.util.find_spec("ensurepip"):
        return
    package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        sys.exit(
            f"{sys.executable} cannot make virtual environments: its ensurepip is missing.\n"
            f"On Debian or Ubuntu, run as root: apt-get install {package}   (then run make again)"
        )
    print(f"Installing {package} …", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", package]):
        subprocess.run(["apt-get", *command], check=True, env=environment, stdout=subprocess.DEVNULL)


def make_venv() -> None:
    ensure_venv_module()
    # A fresh interpreter: this one was started before the package arrived. Not from within an older venv of this checkout.
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
