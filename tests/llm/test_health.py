"""Probing: what it finds, when it runs, and that it stops."""

from __future__ import annotations

import asyncio
import hashlib

import pytest

from gleitzeit_nb.core.models import LoadedModel
from gleitzeit_nb.events import InstanceChanged
from gleitzeit_nb.llm import health
from gleitzeit_nb.llm.pool import OllamaPoolManager
from tests.llm.conftest import pool_of, settings_for
from tests.support.fake_ollama import BROKEN, FakeOllama, Fault, Kind, status
from tests.support.waiting import until


def probes(server: FakeOllama, path: str = "/api/version") -> int:
    return sum(request.path == path for request in server.requests)


def watchers() -> list[asyncio.Task[object]]:
    return [task for task in asyncio.all_tasks() if task.get_name().startswith("gleitzeit-health")]


async def test_the_first_look_finds_what_each_instance_has_and_how_it_is() -> None:
    async with FakeOllama("a", models=["llama3.2:latest", "phi:3b"]) as a, FakeOllama("b") as b:
        a.loaded["phi:3b"] = 1
        await b.die()
        async with pool_of(a, b) as pool:
            alive, dead = pool.instance_views()
    assert (alive.state, alive.reason, alive.models) == ("healthy", "", ("llama3.2", "phi:3b"))
    assert [model.name for model in alive.warm] == ["phi:3b"]
    assert alive.warm[0].gpu_share == 0.0
    assert (dead.state, dead.reason, dead.models) == ("unhealthy", "refused the connection", ())


async def test_probes_learn_which_model_a_name_stands_for() -> None:
    async with FakeOllama("a", models=["Phi:3b"]) as a:
        listed = hashlib.sha256(b"Phi:3b").hexdigest()
        async with pool_of(a) as pool:
            (instance,) = pool._instances
            assert instance.digests == {"phi:3b": listed}
            assert (instance.digest_of("phi:3b"), instance.digest_of("unknown:latest")) == (listed, "")
            instance.loaded["phi:3b"] = LoadedModel("phi:3b", digest="0" * 64)  # the tag was pulled anew, the old model is still loaded
            await pool.chat("phi:3b", "hi")
            assert instance.digest_of("phi:3b") == "0" * 64


async def test_a_hanging_instance_does_not_hold_up_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "FIRST_LOOK_S", 0.2)
    async with FakeOllama("a") as a, FakeOllama("b") as b:
        b.fault = Fault(Kind.HANG_BEFORE_HEADERS, everywhere=True)
        pool = OllamaPoolManager(settings=settings_for(a, b))
        looking = pool.initialize()
        await asyncio.wait_for(looking, 10)
        assert [view.state for view in pool.instance_views()] == ["healthy", "unknown"]
        assert (await pool.chat("llama3.2", "hi")).instance == "a"
        await pool.close()


@pytest.mark.parametrize(
    ("fault", "state", "reason"),
    [
        (status(401, "unauthorized", everywhere=True), "unhealthy", "credentials"),
        (Fault(Kind.HTML, everywhere=True), "unhealthy", "does not answer as|did not answer as an Ollama server"),
        (status(500, "x", everywhere=True), "unhealthy", "HTTP 500"),
    ],
    ids=["wrong key", "not an Ollama", "broken"],
)
async def test_what_a_probe_finds_is_said(fault: Fault, state: str, reason: str) -> None:
    async with FakeOllama("a") as a:
        a.fault = fault
        async with pool_of(a) as pool:
            (view,) = pool.instance_views()
            assert view.state == state
            assert any(word in view.reason for word in reason.split("|"))


async def test_nothing_is_asked_while_nobody_uses_the_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "LINGER_S", 0.0)
    async with FakeOllama("a") as a, pool_of(a, health_check_interval_s=0.05) as pool:
        assert watchers() == []
        await pool.chat("llama3.2", "hi")
        await until(lambda: not watchers())
        seen = len(a.requests)
        await asyncio.sleep(0.3)
        assert len(a.requests) == seen


async def test_while_somebody_looks_the_knowledge_is_kept_fresh() -> None:
    async with FakeOllama("a") as a, pool_of(a, health_check_interval_s=0.05) as pool:
        pool.touch()
        await until(lambda: probes(a) >= 3)
        a.loaded["llama3.2:latest"] = 1
        await until(lambda: pool.instance_views()[0].warm)
        assert len(watchers()) == 1
    assert watchers() == []


async def test_states_change_with_an_event_each_time() -> None:
    async with FakeOllama("a") as a, pool_of(a, health_check_interval_s=0.05) as pool:
        pool.touch()
        await a.die()
        await until(lambda: pool.instance_views()[0].state == "unhealthy")
        await a.listen()
        await until(lambda: pool.instance_views()[0].state == "healthy")
        changes = [event.change for event in pool.events.log if isinstance(event, InstanceChanged)]
        assert changes == ["added", "healthy", "unhealthy", "healthy"]


async def test_a_good_probe_does_not_hide_work_that_fails() -> None:
    async with FakeOllama("a") as a, pool_of(a, health_check_interval_s=0.05, failover=False) as pool:
        a.fault = BROKEN
        for _ in range(3):
            with pytest.raises(Exception, match="nobody answered"):
                await pool.chat("llama3.2", "hi")
        seen = probes(a)
        await until(lambda: probes(a) >= seen + 2)
        (view,) = pool.instance_views()
        assert view.state == "degraded"
        assert "llama3.2 fails there" in view.reason


async def test_an_unhealthy_instance_is_passed_over_until_nobody_else_is_left() -> None:
    async with FakeOllama("a") as a, FakeOllama("b") as b, pool_of(a, b) as pool:
        a.fault = Fault(Kind.HTML, everywhere=True)
        await pool._parts.health.look(pool._parts.members)  # type: ignore[union-attr]
        assert dict(pool.explain("llama3.2"))["a"].startswith("unhealthy: did not answer as an Ollama server")
        a.fault = None
        await pool.drain("b")
        assert (await pool.chat("llama3.2", "hi")).instance == "a"


async def test_one_late_probe_is_not_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "PROBE_TIMEOUT_S", 0.1)
    async with FakeOllama("a") as a, pool_of(a) as pool:
        members = pool._parts.members  # type: ignore[union-attr]
        a.fault = Fault(Kind.HANG_BEFORE_HEADERS, everywhere=True)
        await pool._parts.health.look(members, 10)  # type: ignore[union-attr]
        assert pool.instance_views()[0].state == "degraded"
        await pool._parts.health.look(members, 10)  # type: ignore[union-attr]
        assert pool.instance_views()[0].state == "unhealthy"


async def test_a_request_does_not_wait_for_an_instance_that_probes_find_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "PROBE_TIMEOUT_S", 0.1)
    monkeypatch.setattr(health, "BUSY_EVERY_S", 0.1)
    async with FakeOllama("a") as a, FakeOllama("b") as b, pool_of(a, b) as pool:  # a first token may take five minutes
        a.fault = Fault(Kind.HANG_BEFORE_HEADERS, everywhere=True)
        reply = await asyncio.wait_for(pool.chat("llama3.2", "hi", instance_preference="a"), 30)
    assert reply.instance == "b"
    assert "does not answer health probes" in reply.route.attempts[0].detail


async def test_a_slow_load_is_waited_for_while_probes_are_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "BUSY_EVERY_S", 0.05)
    async with FakeOllama("a", load_s=0.6) as a, FakeOllama("b") as b, pool_of(a, b) as pool:
        assert (await pool.chat("llama3.2", "hi", instance_preference="a")).instance == "a"
        assert probes(a) > 2


async def test_lists_that_cannot_be_read_make_it_degraded() -> None:
    async with FakeOllama("a") as a:

        async def inform(request: object, connection: object) -> None:
            answer = {"version": "1"} if request.path == "/api/version" else {"models": "none"}  # type: ignore[attr-defined]
            await connection.send_json(200, answer)  # type: ignore[attr-defined]

        a._inform = inform  # type: ignore[method-assign, assignment]
        async with pool_of(a) as pool:
            (view,) = pool.instance_views()
    assert view.state == "degraded"
    assert "no list of models" in view.reason
