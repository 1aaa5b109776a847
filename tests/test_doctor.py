"""The doctor: what is there is ok, what is missing says what to do, and nothing secret is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gleitzeit_nb.config import ConfigWarning, load
from gleitzeit_nb.core.digests import Conflict
from gleitzeit_nb.doctor import Finding, examine
from gleitzeit_nb.engine import Engine
from gleitzeit_nb.sandbox import Sandbox
from gleitzeit_nb.snapshot import InstanceView, WarmModel
from tests.support.certificates import Authority
from tests.support.snapshots import instance

HEALTHY = instance("gpu", url="http://gpu:11434", tags=("gpu",), warm=(WarmModel("phi", None),), models=("phi", "llama3.2"))


def changed(**changes: Any) -> InstanceView:
    return replace(HEALTHY, **changes)


async def findings(
    *instances: InstanceView, ollama: dict[str, Any] | None = None, python: dict[str, Any] | None = None
) -> dict[str, Finding]:
    config = load(ollama, python, environ={"KEY": "hunter2"}, home=Path("/nowhere"))
    async with Sandbox(config.sandbox) as sandbox:
        return {finding.name: finding for finding in await examine(config, instances, sandbox)}


async def test_a_healthy_instance_is_ok_with_its_models() -> None:
    found = (await findings(HEALTHY))["gpu"]
    assert (found.level, found.text) == ("ok", "http://gpu:11434 healthy, 2 models, warm: phi")


async def test_an_instance_that_is_down_is_missing_and_says_what_to_do() -> None:
    found = (await findings(changed(state="unhealthy", reason="connection refused")))["gpu"]
    assert found.level == "missing"
    assert "connection refused" in found.text
    assert "Start it there" in found.text


async def test_without_any_instance_the_places_that_were_asked_are_named() -> None:
    found = (await findings())["ollama"]
    assert found.level == "missing"
    assert "http://127.0.0.1:11434" in found.text
    assert "ollama serve" in found.text


async def test_the_embedded_model_that_stands_in_is_told() -> None:
    found = (await findings(changed(id="embedded", tags=("embedded",))))["ollama"]
    assert found.level == "warn"
    assert "stands in" in found.text


async def test_a_default_model_that_nobody_has_is_told() -> None:
    assert (await findings(HEALTHY, ollama={"default_model": "mixtral"}))["default model"].level == "warn"
    assert "default model" not in await findings(HEALTHY, ollama={"default_model": "phi:latest"})


async def test_a_mode_that_is_off_is_ok_and_one_without_isolation_warns() -> None:
    assert (await findings())["local"] == Finding("ok", "local", "switched off")
    found = (await findings(python={"modes": {"local": {"enabled": True}}}))["local"]
    assert found.level == "warn"
    assert "whatever you can" in found.text


async def test_an_image_that_is_not_there_is_missing_and_says_how_to_get_it() -> None:
    found = (await findings(python={"modes": {"docker-none": {"image": "nobody/has:this"}}}))["docker-none"]
    assert found.level == "missing"
    assert "\n" in found.text or "." in found.text


async def test_every_finding_of_a_real_engine_has_a_level_a_name_and_a_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLEITZEIT_OLLAMA_STRATGY", "x")
    monkeypatch.setenv("MY_KEY", "hunter2")
    async with Engine(load({"instances": [{"id": "a", "url": "http://127.0.0.1:9", "api_key": "env:MY_KEY"}]})) as engine:
        found = await engine.doctor()
    assert {"python", "configuration", "environment", "a", "embedded model", "docker-sandbox", "restricted", "local"} <= {
        each.name for each in found
    }
    assert all(each.level in ("ok", "warn", "missing") and each.text for each in found)
    assert not any("hunter2" in each.text for each in found)


async def test_what_is_not_safe_about_the_way_to_an_instance_is_told(authority: Authority) -> None:
    client = authority.issue("soon", days=(-1, 5.5))
    tls = {"client_cert": str(client.cert), "client_key": str(client.key)}
    instances = [
        {"id": "plain", "url": "http://far.example", "api_key": "env:KEY"},
        {"id": "here", "url": "http://localhost:1", "api_key": "env:KEY"},
        {"id": "fine", "url": "https://fine.example", "api_key": "env:KEY"},
        {"id": "soon", "url": "https://soon.example", "tls": tls},
        {"id": "off", "url": "https://off.example", "tls": {"verify": False}},
    ]
    with pytest.warns(ConfigWarning, match=r"tls\.verify"):
        found = await findings(ollama={"instances": instances})
    told = {name.removeprefix("access to "): each for name, each in found.items() if name.startswith("access to ")}
    assert {name: each.level for name, each in told.items()} == dict.fromkeys(("plain", "soon", "off"), "warn")
    assert "without encryption" in told["plain"].text
    assert "valid for 5 more days" in told["soon"].text
    assert "tls.verify is false" in told["off"].text


async def test_whether_kernels_share_their_slots_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    found = (await findings())["shared slots"]
    assert (found.level, str(tmp_path / "gleitzeit") in found.text) == ("ok", True)
    assert "switched off" in (await findings(ollama={"share_slots": False}))["shared slots"].text
    (tmp_path / "gleitzeit").chmod(0o755)
    found = (await findings())["shared slots"]
    assert (found.level, "mode 0755" in found.text, "chmod 700" in found.text) == ("warn", True, True)


async def test_a_name_that_is_another_model_elsewhere_is_a_warning(tmp_path: Path) -> None:
    conflict = Conflict("phi:3b", (("a" * 64, ("north",)), ("b" * 64, ("south",))))
    async with Sandbox() as sandbox:
        findings = await examine(load(environ={}, home=tmp_path), (), sandbox, (conflict,))
    (found,) = [each for each in findings if each.name == "digests"]
    assert found.level == "warn"
    assert "phi:3b is not the same model everywhere" in found.text
