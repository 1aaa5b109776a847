"""Loading, unloading, and what Tab offers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from IPython.core.interactiveshell import InteractiveShell

from gleitzeit_nb.jupyter import extension
from tests.support.shell import FakeRuntime, Shell, open_shell
from tests.support.snapshots import MOCK_UP

HEAVY = "aiohttp docker httpx ipywidgets markdown_it pydantic xllamacpp"


def own_magics(ip: InteractiveShell) -> set[str]:
    return {
        f"{kind} {name}" for kind, names in ip.magics_manager.magics.items() for name in names if name in ("llm", "sandbox", "gleitzeit")
    }


def test_loading_twice_changes_nothing(shell: Shell) -> None:
    before = list(shell.ip.configurables)
    assert extension.load(shell.ip) is shell.front
    assert shell.ip.configurables == before


def test_unloading_leaves_nothing_behind() -> None:
    with open_shell(MOCK_UP) as shell:
        settings = shell.front.settings
        assert own_magics(shell.ip) == {"cell llm", "line llm", "cell sandbox", "line gleitzeit"}
        others = [each for each in shell.ip.configurables if each is not settings]
        for line in ("%llm help", "%gleitzeit help"):  # which makes the magics themselves
            shell.run(line)
        assert len(shell.ip.configurables) == len(others) + 3
        extension.unload(shell.ip)
        assert own_magics(shell.ip) == set()
        assert settings not in shell.ip.configurables
        assert shell.ip.configurables == others
        assert shell.ip.Completer.custom_matchers == []
        extension.unload(shell.ip)


def test_the_public_load_ext_is_idempotent_and_reloads() -> None:
    code = f"""
from IPython.core.interactiveshell import InteractiveShell
import sys, threading
ip = InteractiveShell.instance()
before = threading.active_count()
ip.run_line_magic("load_ext", "gleitzeit_nb")
ip.run_line_magic("load_ext", "gleitzeit_nb")
assert threading.active_count() == before, threading.enumerate()
loaded = set(sys.modules) & set({HEAVY!r}.split())
assert not loaded, loaded
ip.run_line_magic("reload_ext", "gleitzeit_nb")
assert "llm" in ip.magics_manager.magics["cell"]
ip.run_line_magic("unload_ext", "gleitzeit_nb")
assert "llm" not in ip.magics_manager.magics["cell"]
assert threading.active_count() == before, threading.enumerate()
"""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=root, env=dict(os.environ), check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_settings_come_from_an_ipython_configuration() -> None:
    InteractiveShell.clear_instance()
    ip = InteractiveShell.instance()
    try:
        ip.config.GleitzeitNB.model = "mixtral"
        front = extension.load(ip, lambda: FakeRuntime(MOCK_UP))
        assert front.settings.model == "mixtral"
        extension.unload(ip)
    finally:
        ip.history_manager.end_session()
        InteractiveShell.clear_instance()
