"""The composition root: what it takes over from a configuration, and the one snapshot that it makes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from gleitzeit_nb.config import Config, load
from gleitzeit_nb.core.requests import build_request
from gleitzeit_nb.engine import SNAPSHOT_INTERVAL_S, Engine
from gleitzeit_nb.errors import ConfigError, EngineClosedError, JobCancelledError
from gleitzeit_nb.jobs import Job
from gleitzeit_nb.snapshot import SCHEMA_VERSION, Snapshot, json_schema
from tests.support.fake_ollama import FakeOllama
from tests.support.waiting import until


def configured(*servers: FakeOllama, python: Mapping[str, Any] | None = None, **ollama: Any) -> Config:
    instances = [{"id": server.id, "url": server.url} for server in servers]
    return load({"instances": instances, **ollama}, python, environ={}, home=Path("/nonexistent"))


@pytest.fixture
async def north() -> AsyncIterator[FakeOllama]:
    async with FakeOllama("north") as server:
        yield server


@pytest.fixture
async def south() -> AsyncIterator[FakeOllama]:
    async with FakeOllama("south") as server:
        yield server


async def test_a_question_through_the_engine_shows_in_its_snapshot(north: FakeOllama) -> None:
    async with Engine(configured(north)) as engine:
        reply = await engine.pool.chat("llama3.2", "one two")
        snapshot = engine.snapshot()
    assert reply.instance == "north"
    assert snapshot.schema_version == SCHEMA_VERSION
    assert [view.id for view in snapshot.instances] == ["north"]
    assert snapshot.instances[0].total_requests == 1
    enabled = {mode.id: mode.enabled for mode in snapshot.modes}
    assert enabled == {"docker-sandbox": True, "docker-datascience": True, "restricted": True, "local": False}


async def test_an_engine_that_is_not_running_says_so() -> None:
    engine = Engine(configured())
    with pytest.raises(EngineClosedError, match="start"):
        engine.snapshot()
    await engine.start()
    await engine.stop()
    await engine.stop()
    with pytest.raises(EngineClosedError, match="start"):
        _ = engine.pool


async def test_a_server_at_the_usual_address_is_found_without_configuration(north: FakeOllama) -> None:
    config = load(environ={"OLLAMA_HOST": f"127.0.0.1:{north.port}"}, home=Path("/nonexistent"))
    async with Engine(config) as engine:
        assert [view.url for view in engine.snapshot().instances] == [north.url]
        assert (await engine.pool.chat("llama3.2", "hello")).text.strip() == "hello"


async def test_a_changed_configuration_exchanges_instances_and_keeps_those_added_by_hand(north: FakeOllama, south: FakeOllama) -> None:
    async with FakeOllama("by-hand") as added, Engine(configured(north)) as engine:
        pool = engine.pool
        await pool.add_instance(added.settings())
        await engine.apply(configured(south))
        assert engine.pool is pool
        assert {view.id for view in engine.snapshot().instances} == {"south", "by-hand"}


async def test_a_changed_strategy_is_obeyed_by_the_same_pool_and_the_views_go_on(north: FakeOllama) -> None:
    seen: list[Snapshot] = []
    async with Engine(configured(north)) as engine:
        engine.watch(seen.append)
        await until(lambda: len(seen) > 0)
        pool = engine.pool
        await engine.apply(configured(north, load_balancing={"strategy": "round_robin"}))
        assert engine.pool is pool
        assert (await pool.get_pool_status())["strategy"] == "round_robin"
        count = len(seen)
        await engine.pool.chat("llama3.2", "one")
        await until(lambda: len(seen) > count)
    assert seen[-1].seq > seen[0].seq


async def test_whatever_changes_running_and_waiting_requests_are_answered(north: FakeOllama, south: FakeOllama) -> None:
    async with Engine(configured(north)) as engine:  # one slot
        north.gate.clear()
        running = asyncio.ensure_future(engine.pool.chat("llama3.2", "running"))
        await until(lambda: north.in_flight == 1)
        waiting = asyncio.ensure_future(engine.pool.chat("llama3.2", "waiting"))
        await until(lambda: engine.pool.queue_depth == 1)
        await engine.apply(configured(south, load_balancing={"strategy": "round_robin"}, circuit_breaker={"failure_threshold": 9}))
        assert (await asyncio.wait_for(waiting, 10)).instance == "south"
        assert not running.done()
        north.gate.set()
        assert (await asyncio.wait_for(running, 10)).instance == "north"
        await until(lambda: engine.pool.in_flight == 0)


async def test_the_only_instance_may_change_under_a_waiting_request(north: FakeOllama) -> None:
    async with Engine(configured(north)) as engine:
        north.gate.clear()
        running = asyncio.ensure_future(engine.pool.chat("llama3.2", "running"))
        await until(lambda: north.in_flight == 1)
        waiting = asyncio.ensure_future(engine.pool.chat("llama3.2", "waiting"))
        await until(lambda: engine.pool.queue_depth == 1)
        changed = load({"instances": [{"id": "north", "url": north.url, "max_concurrent": 5}]}, environ={}, home=Path("/nonexistent"))
        await engine.apply(changed)
        await until(lambda: north.in_flight == 2)
        north.gate.set()
        assert [reply.text for reply in await asyncio.gather(running, waiting)] == ["running ", "waiting "]
        assert engine.snapshot().instances[0].max_concurrent == 5


LOCAL = {"default_mode": "local", "modes": {"local": {"enabled": True}}}


async def test_a_reload_leaves_runs_and_sessions_alone_unless_the_sandbox_itself_changed(north: FakeOllama, south: FakeOllama) -> None:
    def config(*servers: FakeOllama, **python: object) -> Config:
        instances = [{"id": each.id, "url": each.url} for each in servers]
        return load({"instances": instances}, {**LOCAL, **python}, environ={}, home=Path("/nonexistent"))

    async with Engine(config(north)) as engine:
        await engine.sandbox.execute("x = 1", session="work")
        running = asyncio.ensure_future(engine.sandbox.execute("import time; time.sleep(60)"))
        await until(lambda: any(view.container for view in engine.sandbox.run_views()))
        assert await engine.apply(config(north, south), again=True) == ""
        assert (await engine.sandbox.execute("print(x)", session="work")).stdout == "1\n"
        assert not running.done()
        told = await engine.apply(config(north, south, container_pool={"max_uses": 7}), again=True)
        assert told == "The sandbox was configured anew, which ended 1 run, the session work."
        result = await asyncio.wait_for(running, 20)
        assert (result.status, engine.sandbox.settings.container_pool.max_uses) == ("killed", 7)


async def test_what_was_drained_by_hand_and_what_is_ejected_stays_so(north: FakeOllama, south: FakeOllama) -> None:
    async with Engine(configured(north, south)) as engine:
        await engine.pool.drain("north")
        await engine.pool.record_failure(south.url, ConnectionRefusedError(111, "refused"))
        await engine.apply(configured(north, south, load_balancing={"strategy": "round_robin"}))
        first, second = engine.snapshot().instances
        assert (first.draining, second.breaker) == (True, "open")


async def test_an_id_that_was_given_by_hand_is_not_taken_and_nothing_changes(north: FakeOllama, south: FakeOllama) -> None:
    before = configured(north)
    async with FakeOllama("south") as other, Engine(before) as engine:
        await engine.pool.add_instance(other.settings())
        with pytest.raises(ConfigError, match="added by hand"):
            await engine.apply(configured(north, south, load_balancing={"strategy": "round_robin"}))
        assert engine.config is before
        assert {view.url for view in engine.snapshot().instances} == {north.url, other.url}
        assert (await engine.pool.get_pool_status())["strategy"] != "round_robin"
        await engine.pool.remove_instance("south")
        await engine.pool.remove_instance("north")  # by hand, though it is configured
        await engine.apply(configured(north, south, load_balancing={"strategy": "round_robin"}))
        assert [view.url for view in engine.snapshot().instances] == [south.url]


async def test_a_recording_takes_the_place_of_all_instances_and_gives_it_back(north: FakeOllama, tmp_path: Path) -> None:
    file = str(tmp_path / "answers.jsonl")
    async with Engine(configured(north, record=file)) as engine:
        said = (await engine.pool.chat("llama3.2", "one two")).text
        await engine.apply(configured(north, replay=file))
        reply = await engine.pool.chat("llama3.2", "one two")
        assert (reply.text, reply.source, len(engine.snapshot().instances)) == (said, "recording", 0)
        await engine.apply(configured(north))
        assert (await engine.pool.chat("llama3.2", "one two")).source == "instance"
    assert len(north.asked) == 2


async def test_a_pool_can_be_closed_and_opened_again(north: FakeOllama) -> None:
    engine = Engine(configured(north))
    for _ in range(2):
        await engine.start()
        assert (await engine.pool.chat("llama3.2", "hello")).text == "hello "
        await engine.stop()


async def test_the_sandbox_is_left_alone_when_only_instances_change(north: FakeOllama, south: FakeOllama) -> None:
    async with Engine(configured(north)) as engine:
        before = engine.sandbox
        await engine.apply(configured(north, south))
        assert engine.sandbox is before
        await engine.apply(configured(north, south, python={"default_mode": "restricted"}))
        assert engine.sandbox is not before


async def test_watchers_hear_of_changes_only_and_not_after_they_left(north: FakeOllama) -> None:
    seen: list[Snapshot] = []
    async with Engine(configured(north)) as engine:
        unwatch = engine.watch(seen.append)
        await until(lambda: len(seen) == 1)
        await asyncio.sleep(3 * SNAPSHOT_INTERVAL_S)
        quiet = len(seen)
        await engine.pool.chat("llama3.2", "one")
        await until(lambda: len(seen) > quiet)
        unwatch()
        count = len(seen)
        await engine.pool.chat("llama3.2", "two")
        await asyncio.sleep(2 * SNAPSHOT_INTERVAL_S)
    assert quiet <= 2  # nothing was asked, so at most the first health probe moved anything
    assert len(seen) == count
    assert len({snapshot.seq for snapshot in seen}) == len(seen)


async def test_a_view_that_fails_is_dropped_and_the_others_go_on(north: FakeOllama, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[Snapshot] = []

    def broken(snapshot: Snapshot) -> None:
        raise LookupError("widget is gone")

    async with Engine(configured(north)) as engine:
        engine.watch(broken)
        engine.watch(seen.append)
        await until(lambda: len(seen) == 1)
        await engine.pool.chat("llama3.2", "one")
        await until(lambda: len(seen) > 1)
    assert caplog.text.count("a view failed") == 1


async def test_a_snapshot_can_be_taken_from_another_thread(north: FakeOllama) -> None:
    taken: list[Snapshot] = []
    async with Engine(configured(north)) as engine:
        thread = threading.Thread(target=lambda: taken.append(engine.snapshot()))
        thread.start()
        await asyncio.to_thread(thread.join)
    assert taken[0].instances[0].id == "north"


def test_the_schema_names_every_field_that_the_front_end_reads() -> None:
    schema = json_schema()
    assert set(schema["properties"]) == set(Snapshot.__dataclass_fields__)
    assert schema["$defs"]["InstanceView"]["properties"]["retry_in_s"]["anyOf"][1] == {"type": "null"}


async def test_a_job_stands_in_the_snapshot_as_one_run_and_is_cancelled_by_that_name(north: FakeOllama) -> None:
    north.token_s = 0.5
    async with Engine(configured(north)) as engine:
        job = Job(1, "[3] %%llm --bg")

        async def work() -> None:
            request = build_request("cell-7", "chat", "llama3.2", messages="one two three", label="[3] %%llm")
            job.part = request.id
            await engine.pool.complete_request(request)

        async def ended() -> None:
            return

        engine.jobs.start(job, work, ended)
        await until(lambda: any(view.where == "north" for view in engine.run_views()))
        assert [(view.id, view.kind, view.model) for view in engine.snapshot().runs] == [("job-1", "job", "llama3.2")]
        assert engine.cancel("job-1", "from the side panel")
        with pytest.raises(JobCancelledError, match="from the side panel"):
            await asyncio.wrap_future(job.future)
        assert not engine.cancel("job-1", "again")
        await until(lambda: north.abandoned == 1)
