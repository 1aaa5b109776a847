"""Instances in processes of their own: how they start, what they show, and that nothing outlives its owner."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import httpx
import pytest

from gleitzeit_nb.config import instance_settings
from gleitzeit_nb.embedded import EmbeddedInstance, is_ready, server
from gleitzeit_nb.errors import ChildStartError, ConfigError, MissingDependencyError, PortInUseError, WeightsError
from tests.embedded.conftest import MODEL, Connect, Launch, bearer, children, running
from tests.support.waiting import wait_until

pytestmark = pytest.mark.model
REPOSITORY = Path(__file__).resolve().parents[2]


def test_an_instance_shows_itself_without_its_token(launch: Launch) -> None:
    instance = launch()
    assert repr(instance) == f"<EmbeddedInstance 'own-0' {instance.url} {MODEL} alive>"
    assert instance.token not in repr(instance) + repr(instance.instance) + str(instance.instance)
    settings = instance_settings(instance.instance)
    assert (settings.id, settings.url, settings.models) == ("own-0", instance.url, (MODEL,))
    assert settings.api_key is not None
    assert settings.api_key.reveal() == instance.token


def test_the_token_is_in_no_command_line_and_no_environment(launch: Launch, connect: Connect) -> None:
    instance = launch()
    connect(instance).generate(MODEL)
    for pid in (instance.pid, *children(instance.pid)):
        seen = Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
        assert instance.token.encode() not in seen


def test_stop_ends_server_and_children(launch: Launch, connect: Connect) -> None:
    instance = launch()
    connect(instance).generate(MODEL)
    (child,) = children(instance.pid)
    instance.stop()
    instance.stop()
    assert not instance.alive
    wait_until(lambda: not running(child))
    assert repr(instance).endswith("ended>")


def test_stop_is_quick_while_a_request_runs(launch: Launch) -> None:
    instance = launch()
    body = {"model": MODEL, "prompt": "Tell me a long story.", "options": {"num_predict": 4000}}
    with httpx.Client(base_url=instance.url, headers=bearer(instance), timeout=60, trust_env=False) as http:
        with http.stream("POST", "/api/generate", json=body) as response:
            lines = response.iter_lines()
            next(lines)
            (child,) = children(instance.pid)
            instance.stop()
            assert not instance.alive
            wait_until(lambda: not running(child))


def test_kill_ends_the_children_too(launch: Launch, connect: Connect) -> None:
    instance = launch()
    connect(instance).generate(MODEL)
    (child,) = children(instance.pid)
    instance.kill()
    assert not instance.alive
    wait_until(lambda: not running(child))
    with pytest.raises(httpx.ConnectError):
        httpx.get(instance.url, trust_env=False)


OWNER = """
    import sys
    from pathlib import Path
    from gleitzeit_nb.embedded import EmbeddedInstance
    instance = EmbeddedInstance.launch("owned", cache_dir=Path(sys.argv[1]))
    print(instance.pid, instance.url, instance.token, flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("holder", ["nobody", "a forked process"])
def test_the_death_of_the_owner_ends_everything(model_cache: Path, holder: str) -> None:
    code = textwrap.dedent(OWNER)
    if holder == "a forked process":  # it inherits the server's stdin and keeps it open
        code = code.replace("sys.stdin.read()", "import os, time\nif os.fork():\n    sys.stdin.read()\nelse:\n    time.sleep(8)")
    command = [sys.executable, "-c", code, str(model_cache)]
    owner = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
    assert owner.stdin is not None
    assert owner.stdout is not None
    with owner.stdin, owner.stdout:
        pid, url, token = owner.stdout.readline().split()
        httpx.post(f"{url}/api/generate", json={"model": MODEL}, headers={"Authorization": f"Bearer {token}"}, timeout=60, trust_env=False)
        (child,) = children(int(pid))
        owner.send_signal(signal.SIGKILL)
        owner.wait()
        wait_until(lambda: not running(int(pid)) and not running(child), limit_s=6)


def test_an_interrupt_of_the_owners_group_leaves_the_instance_alone(launch: Launch) -> None:
    instance = launch()
    assert os.getpgid(instance.pid) != os.getpgid(0)
    assert os.getsid(instance.pid) != os.getsid(0)


def test_a_taken_port_says_what_to_do(launch: Launch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortInUseError, match=rf"127\.0\.0\.1:{port} is taken.*\n.*--port 0"):
            launch(port=port)
    assert launch(port=port).url == f"http://127.0.0.1:{port}"


def test_missing_weights_name_the_command_that_fetches_them(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="gleitzeit-nb embedded fetch --model smollm2:135m"):
        EmbeddedInstance.launch("none", cache_dir=tmp_path)
    assert not is_ready(cache_dir=tmp_path)


@pytest.mark.parametrize("settings", [{"parallel": 0}, {"threads": 0}, {"num_ctx": 1}, {"port": -1}, {"keep_alive_s": -1.0}])
def test_impossible_settings_are_refused_by_name(launch: Launch, settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=rf"^{next(iter(settings))} of an embedded instance is"):
        launch(**settings)


def test_an_unknown_model_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"knows no model 'llama9'.\nIt has: smollm2:135m"):
        EmbeddedInstance.launch("none", model="llama9", cache_dir=tmp_path)


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_PACKAGES", ("no_such_package_at_all",))
    with pytest.raises(MissingDependencyError, match=r'pip install "gleitzeit-nb\[embedded\]"'):
        server.check_installation()
    assert not is_ready()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the engine's wheel brings all its libraries")
def test_a_missing_system_library_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_LIBRARY", "libabsent.so.0")
    with pytest.raises(ChildStartError, match=r"(?s)libabsent\.so\.0.*apt-get install libgomp1"):
        server.check_installation()


def test_an_old_processor_starts_nothing(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("flags : sse2\n")
    with pytest.raises(ChildStartError, match="AVX2"):
        server.check_installation(cpuinfo)


def test_a_working_directory_full_of_namesakes_does_no_harm(
    launch: Launch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, connect: Connect
) -> None:
    for name in ("json", "queue", "starlette", "gleitzeit_nb"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong module')\n")
    monkeypatch.chdir(tmp_path)
    assert connect(launch()).generate(MODEL).done_reason == "load"


SERVE = """
    import sys
    from pathlib import Path
    from gleitzeit_nb.embedded import serve
    serve(port=0, cache_dir=Path(sys.argv[1]))
"""


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_serve_announces_one_line_is_open_and_ends_on_a_signal(model_cache: Path, sent: signal.Signals) -> None:
    command = [sys.executable, "-c", textwrap.dedent(SERVE), str(model_cache)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
    assert process.stdout is not None
    with process.stdout:
        assert select.select([process.stdout], [], [], 60)[0]
        line = process.stdout.readline()
        assert MODEL in line
        url = next(word for word in line.split() if word.startswith("http://"))
        assert httpx.post(f"{url}/api/generate", json={"model": MODEL}, timeout=60, trust_env=False).json()["done_reason"] == "load"
        (child,) = children(process.pid)
        process.send_signal(sent)
        assert process.wait(10) == (0 if sent is signal.SIGINT else -signal.SIGTERM)
        wait_until(lambda: not running(child))
        assert process.stdout.read() == ""
