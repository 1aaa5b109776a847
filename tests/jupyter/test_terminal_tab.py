"""Tab in IPython in a terminal."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

pexpect = pytest.importorskip("pexpect", reason="pexpect is not installed")
WAIT_S = 60


def test_tab_in_a_terminal_goes_on_with_what_was_typed(tmp_path: Path, project_root: Path) -> None:
    environment = {**os.environ, "TERM": "xterm", "IPYTHONDIR": str(tmp_path), "PYTHONPATH": str(project_root), "NO_COLOR": "1"}
    arguments = ["-m", "IPython", "--no-banner", "--no-confirm-exit", "--colors=NoColor"]
    ipython = pexpect.spawn(sys.executable, arguments, env=environment, encoding="utf-8", timeout=WAIT_S, dimensions=(40, 120))
    try:
        ipython.expect(r"In \[")
        ipython.send("%load_ext gleitzeit_nb\r")
        ipython.expect(r"In \[.*2")
        ipython.send("%gleitzeit dash\t")
        ipython.expect("dashboard")
        ipython.send("\x15%%llm --dead\t")
        ipython.expect("deadline|line")
        ipython.send("\x15%%sandbox --mo\t docker-s\t")
        ipython.expect("docker-sandbox|andbox")
        ipython.send("\x15exit()\r")
        ipython.expect(pexpect.EOF)
    finally:
        ipython.close(force=True)
