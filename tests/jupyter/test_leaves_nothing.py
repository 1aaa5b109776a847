"""`%load_ext`, `%reload_ext`, `%unload_ext`, autoload and IPython's own magics around ours, in a kernel and in a terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_ollama import FakeOllama, echo
from tests.support.kernel import Kernel, instances
from tests.support.waiting import wait_until

pytest.importorskip("ipykernel", reason="ipykernel is not installed")

LOOK = """
import gc, json, os, threading
def look():
    gc.collect()
    ip = get_ipython()
    facts = {
        "threads": sorted(each.name.split("-")[0] for each in threading.enumerate() if not each.name.startswith("asyncio")),
        "idle workers": len([each for each in threading.enumerate() if each.name.startswith("asyncio")]),
        "comms": len(ip.kernel.comm_manager.comms),
        "comm targets": sorted(ip.kernel.comm_manager.targets),
        "magics": sorted(name for each in ip.magics_manager.magics.values() for name in each),
        "registry": sorted(ip.magics_manager.registry),
        "configurables": sorted(type(each).__name__ for each in ip.configurables),
        "matchers": len(ip.Completer.custom_matchers),
        "hooks": sorted(ip.events.callbacks[name].__len__() for name in ip.events.callbacks),
        "exceptions": [each.__name__ for each in ip.custom_exceptions],
        "formatters": sum(map(len, (each.type_printers for each in ip.display_formatter.formatters.values()))),
        "names": sorted(name for name in ip.user_ns if not name.startswith("_")),
        "children": os.popen(f"ps --no-headers -o comm --ppid {os.getpid()}").read().split(),
    }
    print(json.dumps(facts))
"""


def facts(kernel: Kernel) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(kernel.run("look()").stream("stdout"))
    found["children"] = [each for each in found["children"] if each not in ("sh", "ps")]
    return found


def used(kernel: Kernel, north: FakeOllama) -> None:
    """Everything that starts something: the engine, its dashboard, the sandbox, jobs."""
    north.tokens, north.token_s = echo, 0.0
    assert kernel.run("%%llm -q\nhello").reply["status"] == "ok"
    kernel.run("%gleitzeit dashboard")
    kernel.run("%%sandbox -q\n1")
    north.token_s = 0.5
    kernel.run("%%llm --bg -q\none two three four five six seven eight nine ten")
    kernel.run("%%sandbox --bg -q --timeout 60\nwhile True: pass")


def test_three_rounds_of_loading_using_and_unloading_leave_nothing(kernel: Kernel, north: FakeOllama) -> None:
    kernel.run(LOOK)
    kernel.run("import ipywidgets")  # brings its own comm targets, which stay
    used(kernel, north)
    kernel.run("%unload_ext gleitzeit_nb")
    wait_until(lambda: "gleitzeit" not in str(facts(kernel)["threads"]))
    before = facts(kernel)
    assert "gleitzeit" not in str(before["threads"])
    for _ in range(3):
        kernel.run("%load_ext gleitzeit_nb")
        kernel.run("%load_ext gleitzeit_nb")
        used(kernel, north)
        kernel.run("%reload_ext gleitzeit_nb")
        used(kernel, north)
        kernel.run("%unload_ext gleitzeit_nb")
        wait_until(lambda: facts(kernel) == before)  # what was told to end needs a moment on a busy machine
        assert facts(kernel) == before
    kernel.run("%load_ext gleitzeit_nb")


def test_what_is_timed_captured_and_nested_stays_ours(kernel: Kernel, north: FakeOllama) -> None:
    north.tokens, north.token_s = echo, 0.0
    assert "Wall time" in kernel.run("%time get_ipython().run_cell_magic('llm', '-q', 'hi')").stream("stdout")
    run = kernel.run("%time %llm ps")
    assert "Wall time" in run.stream("stdout")
    assert "llama3.2" in run.stream("stdout")
    assert "per loop" in kernel.run("%%timeit -n1 -r1\nget_ipython().run_cell_magic('llm', '-q', 'hi')").stream("stdout")
    kernel.run("def asked(text):\n    return get_ipython().run_cell_magic('llm', '', text)")
    run = kernel.run("asked('one').text + asked('two').text")
    assert list(dict.fromkeys(run.markdown)) == ["one", "two"]
    assert kernel.run("asked('three');").value == ""
    run = kernel.run("%%capture caught\n%%llm --bg -o job\nhello")
    assert run.of("stream", "display_data", "execute_result") == []
    assert kernel.run("print(job.result(30).text.strip(), len(caught.outputs) >= 2)").stream("stdout") == "hello True\n"
    run = kernel.run("%%llm -o answer;\nhello")
    assert run.of("stream", "display_data", "execute_result") == []
    assert kernel.run("print(answer.text.strip())").stream("stdout") == "hello\n"


def ipython(*arguments: str, typed: str = "", environment: dict[str, str]) -> str:
    command = [sys.executable, "-m", "IPython", "--no-banner", "--simple-prompt", "--colors=NoColor", *arguments]
    done = subprocess.run(command, input=typed, capture_output=True, text=True, timeout=120, env={**os.environ, **environment}, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_ipython_on_one_line_asks_and_ends(north: FakeOllama) -> None:
    north.tokens, north.token_s = echo, 0.0
    code = "get_ipython().run_line_magic('load_ext', 'gleitzeit_nb'); get_ipython().run_cell_magic('llm', '', 'hello there')"
    assert "hello there" in ipython("-c", code, environment=instances(north))


def test_a_terminal_that_loads_it_by_its_configuration_ends_with_a_job_under_way(north: FakeOllama, tmp_path: Path) -> None:
    profile = tmp_path / "ipython" / "profile_default"
    profile.mkdir(parents=True)
    (profile / "ipython_config.py").write_text(
        "c = get_config()\nc.InteractiveShellApp.extensions = ['gleitzeit_nb']\nc.GleitzeitNB.model = 'llama3.2'\n"
    )
    north.tokens, north.token_s = echo, 0.2
    typed = (
        "get_ipython().run_cell_magic('llm', '--bg -o job', 'one two three four five')\n"
        "print('asked for', job.result(60).text.strip())\n"
        "%llm jobs\n"
        "job = get_ipython().run_cell_magic('llm', '--bg', 'x ' * 500)\n"
        "exit\n"
    )
    shown = ipython(typed=typed, environment={**instances(north), "IPYTHONDIR": str(profile.parent)})
    assert "asked for one two three four five" in shown
    assert "▸ job 1 · " in shown
    assert "llama3.2  north" in shown
    assert "Traceback" not in shown
