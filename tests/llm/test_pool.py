"""The pool on servers that behave: asking, streaming, waiting, and what it says meanwhile."""

from __future__ import annotations

import asyncio
import logging

import pytest

from gleitzeit_nb.core.admission import AdmissionSettings
from gleitzeit_nb.core.requests import Chunk, LLMRequest, build_request
from gleitzeit_nb.core.settings import PoolSettings
from gleitzeit_nb.errors import (
    ConfigError,
    DeadlineExceededError,
    EngineClosedError,
    ModelNotFoundError,
    NoInstanceError,
    QueueFullError,
    WrongLoopError,
)
from gleitzeit_nb.llm.pool import OllamaPoolManager
from tests.llm.conftest import pool_of, settings_for
from tests.support.fake_ollama import FakeOllama
from tests.support.waiting import until

DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="  # a picture of one pixel


async def test_chat_returns_the_whole_answer_and_who_gave_it() -> None:
    async with FakeOllama("a") as server, pool_of(server) as pool:
        reply = await pool.chat("llama3.2", "Hello there")
    assert reply.text == "Hello there "
    assert (reply.model, reply.instance, reply.done_reason) == ("llama3.2", "a", "stop")
    assert (reply.usage.completion_tokens, reply.usage.prompt_tokens, reply.usage.tokens_per_s) == (2, 7, 1000.0)
    assert [attempt.outcome for attempt in reply.route.attempts] == ["ok"]
    assert reply.route.candidates == (("a", "picked: 0/4 in flight"),)
    assert reply.route.retries == 0


async def test_a_stream_yields_pieces_and_then_the_reply() -> None:
    async with FakeOllama() as server, pool_of(server) as pool:
        chunks = [chunk async for chunk in pool.stream("llama3.2", [{"role": "user", "content": "one two"}])]
    assert [chunk.text for chunk in chunks] == ["one ", "two ", ""]
    assert chunks[-1].reply is not None
    assert chunks[-1].reply.text == "one two "
    assert all(chunk.reply is None for chunk in chunks[:-1])


async def test_what_is_asked_reaches_the_wire_and_nothing_else() -> None:
    async with FakeOllama() as server, pool_of(server) as pool:
        await pool.chat("llama3.2", "hi", options={"seed": 1}, format="json", keep_alive="5m", think=False, images=[DOT], tags=())
        await pool.generate("llama3.2", "hi", system="be brief")
    chat, generate = (request.body for request in server.asked)
    assert chat == {
        "model": "llama3.2",
        "stream": True,
        "messages": [{"role": "user", "content": "hi", "images": [DOT]}],
        "format": "json",
        "think": False,
        "options": {"seed": 1},
        "keep_alive": 300,
    }
    assert generate == {"model": "llama3.2", "stream": True, "prompt": "hi", "system": "be brief"}


async def test_generate_and_embed() -> None:
    async with FakeOllama() as server, pool_of(server) as pool:
        assert (await pool.generate("llama3.2", "one two", system="x")).text == "one two "
        vectors = await pool.embed("llama3.2", ["a", "b"])
        assert await pool.embed("llama3.2", "a") == vectors[:1]
    assert len(vectors) == 2
    assert all(isinstance(number, float) for number in vectors[0])


async def test_an_unknown_keyword_names_the_nearest() -> None:
    async with FakeOllama() as server, pool_of(server) as pool:
        with pytest.raises(TypeError, match=r"'deadlin'.*did you mean 'deadline'"):
            await pool.chat("llama3.2", "hi", deadlin=3)  # type: ignore[call-arg]
        with pytest.raises(ConfigError, match="Did you mean 'round_robin'"):
            await pool.chat("llama3.2", "hi", strategy="round_robbin")
    assert server.asked == []


async def test_a_model_is_found_by_implied_tag_and_any_case() -> None:
    async with FakeOllama(models=["Llama3.2:latest"]) as server, pool_of(server) as pool:
        assert (await pool.chat("LLAMA3.2", "hi")).model == "LLAMA3.2"


async def test_an_instances_limit_is_never_passed_and_all_are_answered() -> None:
    async with FakeOllama("a", token_s=0.01) as a, FakeOllama("b", token_s=0.01) as b:
        async with pool_of(a, b, max_concurrent=2) as pool:
            replies = await asyncio.gather(*(pool.chat("llama3.2", f"n{number}") for number in range(20)))
    assert [reply.text for reply in replies] == [f"n{number} " for number in range(20)]
    assert (a.most_in_flight, b.most_in_flight) == (2, 2)
    assert len(a.asked) + len(b.asked) == 20


async def test_without_a_limit_a_model_gets_one_request_at_a_time() -> None:
    async with FakeOllama(models=["x", "y"], token_s=0.01) as server:
        async with pool_of(server, max_concurrent=None) as pool:
            await asyncio.gather(*(pool.chat(model, "hi") for model in "xyxyxy"))
            assert pool.instance_views()[0].max_concurrent == 2
    assert server.most_in_flight <= 2


async def test_waiting_requests_are_served_in_order_of_arrival() -> None:
    async with FakeOllama() as server, pool_of(server, max_concurrent=1) as pool:
        server.gate.clear()
        tasks = []
        for number in range(5):
            tasks.append(asyncio.ensure_future(pool.chat("llama3.2", f"n{number}")))
            await until(lambda: pool.queue_depth + pool.in_flight == len(tasks))
        server.gate.set()
        await asyncio.gather(*tasks)
    assert [request.body["messages"][0]["content"] for request in server.asked] == [f"n{number}" for number in range(5)]


async def test_a_lower_priority_number_goes_first() -> None:
    async with FakeOllama() as server, pool_of(server, max_concurrent=1) as pool:
        server.gate.clear()
        first = asyncio.ensure_future(pool.chat("llama3.2", "first"))
        await until(lambda: server.in_flight == 1)
        late = asyncio.ensure_future(pool.chat("llama3.2", "late", priority=1))
        urgent = asyncio.ensure_future(pool.chat("llama3.2", "urgent", priority=-1))
        await until(lambda: pool.queue_depth == 2)
        server.gate.set()
        await asyncio.gather(first, late, urgent)
    assert [request.body["messages"][0]["content"] for request in server.asked] == ["first", "urgent", "late"]


async def test_a_full_queue_is_an_error_that_says_so() -> None:
    async with FakeOllama() as server, pool_of(server, max_concurrent=1, admission=AdmissionSettings(max_queue=1)) as pool:
        server.gate.clear()
        running = [asyncio.ensure_future(pool.chat("llama3.2", "hi")) for _ in range(2)]
        await until(lambda: pool.queue_depth == 1 and server.in_flight == 1)
        with pytest.raises(QueueFullError, match="max_queue"):
            await pool.chat("llama3.2", "one too many")
        server.gate.set()
        await asyncio.gather(*running)


async def test_the_deadline_counts_in_the_queue() -> None:
    async with FakeOllama() as server, pool_of(server, max_concurrent=1) as pool:
        server.gate.clear()
        running = asyncio.ensure_future(pool.chat("llama3.2", "hi"))
        await until(lambda: server.in_flight == 1)
        with pytest.raises(DeadlineExceededError, match=r"deadline of 0\.05 s"):
            await pool.chat("llama3.2", "hi", deadline=0.05)
        server.gate.set()
        assert (await running).text == "hi "


async def test_a_queue_timeout_is_told_apart_from_the_deadline() -> None:
    admission = AdmissionSettings(queue_timeout_s=0.05)
    async with FakeOllama() as server, pool_of(server, max_concurrent=1, admission=admission) as pool:
        server.gate.clear()
        running = asyncio.ensure_future(pool.chat("llama3.2", "hi"))
        await until(lambda: server.in_flight == 1)
        with pytest.raises(DeadlineExceededError, match="queue_timeout"):
            await pool.chat("llama3.2", "hi", deadline=60)
        server.gate.set()
        await running


async def test_a_model_that_nobody_has_is_an_error_with_the_near_ones() -> None:
    async with FakeOllama(models=["llama3.2:latest", "phi:3b"]) as server, pool_of(server) as pool:
        with pytest.raises(ModelNotFoundError, match=r"did you mean llama3\.2\?") as caught:
            await pool.chat("lama3.2", "hi")
        assert caught.value.rejections == (("fake", "has not the model lama3.2"),)
    assert server.asked == []


async def test_a_model_pulled_a_moment_ago_is_found() -> None:
    async with FakeOllama(models=["phi:3b"]) as server, pool_of(server) as pool:
        server.models.append("llama3.2:latest")
        pool._parts.health._watches.clear()  # type: ignore[union-attr]  # as if the last look were long ago
        assert (await pool.chat("llama3.2", "hi")).text == "hi "


async def test_tags_and_the_instance_are_hard_wishes() -> None:
    async with FakeOllama("a") as a, FakeOllama("b") as b:
        settings = PoolSettings(instances=(a.settings(tags=("cpu",)), b.settings(tags=("gpu", "big"))))
        async with OllamaPoolManager(settings=settings) as pool:
            assert {(await pool.chat("llama3.2", "hi", tags=["gpu"])).instance for _ in range(4)} == {"b"}
            assert (await pool.chat("llama3.2", "hi", instance_tags=["gpu", "big"])).instance == "b"
            assert {(await pool.chat("llama3.2", "hi", instance="a")).instance for _ in range(4)} == {"a"}
            with pytest.raises(NoInstanceError, match="asked for tags gpu, cpu") as caught:
                await pool.chat("llama3.2", "hi", tags=["gpu", "cpu"])
            assert caught.value.rejections == (("a", "no tag gpu"), ("b", "no tag cpu"))
            with pytest.raises(NoInstanceError, match="there are: a, b"):
                await pool.chat("llama3.2", "hi", instance="c")
            assert list(pool.explain("llama3.2", tags=["gpu"])) == [("a", "no tag gpu"), ("b", "picked: 0/4 in flight")]


async def test_require_gpu_believes_the_servers_word_before_the_tag() -> None:
    async with FakeOllama("cpu") as cpu, FakeOllama("gpu", on_gpu=True) as gpu:
        settings = PoolSettings(instances=(cpu.settings(tags=("gpu",)), gpu.settings()))
        cpu.loaded["llama3.2:latest"] = gpu.loaded["llama3.2:latest"] = 1
        async with OllamaPoolManager(settings=settings) as pool:
            assert list(pool.explain("llama3.2", require_gpu=True)) == [("cpu", "no GPU is known"), ("gpu", "picked: 0/4 in flight")]


async def test_a_preference_is_no_filter() -> None:
    async with FakeOllama("a") as a, FakeOllama("b") as b, pool_of(a, b) as pool:
        assert {(await pool.chat("llama3.2", "hi", instance_preference="b")).instance for _ in range(5)} == {"b"}
        await b.die()
        assert (await pool.chat("llama3.2", "hi", instance_preference="b")).instance == "a"


async def test_round_robin_takes_turns() -> None:
    async with FakeOllama("a") as a, FakeOllama("b") as b, FakeOllama("c") as c, pool_of(a, b, c, strategy="round_robin") as pool:
        order = [(await pool.chat("llama3.2", "hi")).instance for _ in range(6)]
    assert sorted(order[:3]) == ["a", "b", "c"]
    assert order[:3] == order[3:]


async def test_fallback_models_are_asked_in_order() -> None:
    async with FakeOllama(models=["phi:3b"]) as server, pool_of(server) as pool:
        reply = await pool.chat("llama3.2:70b", "hi", fallback_model=["mixtral", "phi:3b"])
        assert reply.model == "phi:3b"
        assert reply.notices == ("phi:3b answered as the fallback: nobody could with llama3.2:70b, mixtral",)
        assert (await pool.chat("phi:3b", "hi", fallback_model="mixtral")).notices == ()
        with pytest.raises(ModelNotFoundError, match=r"model mixtral, a fallback of llama3\.2:70b \("):
            await pool.chat("llama3.2:70b", "hi", fallback_model="mixtral")


async def test_without_a_model_the_only_or_the_first_warm_one_answers() -> None:
    async with FakeOllama(models=["phi:3b"]) as server, pool_of(server) as pool:
        assert (await pool.chat("", "hi")).model == "phi:3b"
        server.models.append("llama3.2:latest")
        await pool._parts.health.refresh_models(0.0)  # type: ignore[union-attr]
        assert (await pool.chat("", "hi")).model == "phi:3b"
    async with FakeOllama(models=["phi:3b", "llama3.2:latest"]) as server, pool_of(server) as pool:
        with pytest.raises(NoInstanceError, match=r"-m MODEL.*llama3\.2, phi:3b"):
            await pool.chat("", "hi")
    async with FakeOllama(models=["phi:3b", "llama3.2:latest"]) as server, pool_of(server, default_model="llama3.2") as pool:
        assert (await pool.chat("", "hi")).model == "llama3.2"


async def test_a_waiting_request_says_where_it_stands() -> None:
    async with FakeOllama("gpu-1", load_s=3600) as server, pool_of(server, max_concurrent=1) as pool:
        chunks = [pool.stream_request(build_request(f"r{number}", "chat", "llama3.2", messages="hi")) for number in range(3)]
        tasks = [asyncio.ensure_future(anext(each)) for each in chunks]
        await until(lambda: pool.queue_depth == 2)
        assert pool.describe("r0").startswith("loading llama3.2 on gpu-1, ")
        assert [pool.describe(name) for name in ("r1", "r2", "nobody")] == ["queued 1st", "queued 2nd", ""]
        views = pool.run_views()
        assert [(view.id, view.where, view.state) for view in views[1:]] == [("r1", "", "queued 1st"), ("r2", "", "queued 2nd")]
        assert (views[0].where, views[0].kind) == ("gpu-1", "llm")
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert pool.describe("r0") == ""


async def test_a_warm_model_is_waited_for_in_other_words() -> None:
    async with FakeOllama("a") as server, pool_of(server) as pool:
        await pool.chat("llama3.2", "hi")
        server.gate.clear()
        task = asyncio.ensure_future(pool.chat("llama3.2", "hi"))
        await until(lambda: server.in_flight == 1)
        assert pool.run_views()[0].state.startswith("waiting for the first token from a, ")
        server.gate.set()
        await task


async def test_loads_and_rates_are_booked() -> None:
    async with FakeOllama("a") as server, pool_of(server) as pool:
        await pool.chat("llama3.2", "one two three four")
        view = pool.instance_views()[0]
    assert (view.total_requests, view.failed_requests, view.error_rate, view.in_flight) == (1, 0, 0.0, 0)
    assert view.latency_s is not None
    assert view.latency_s > 0
    assert sum(view.tokens_per_s) == 2.0  # four tokens in a bucket of two seconds
    assert [model.name for model in view.warm] == ["llama3.2"]


async def test_a_request_that_cannot_be_written_costs_no_slot() -> None:
    async with FakeOllama() as server, pool_of(server, max_concurrent=1) as pool:
        with pytest.raises((TypeError, ValueError)):
            await pool.chat("llama3.2", ["not a message"])  # type: ignore[list-item]
        with pytest.raises(TypeError):
            await pool.chat("llama3.2", "hi", options={"stop": {1}})
        assert pool.in_flight == 0
        assert (await pool.chat("llama3.2", "hi")).text == "hi "


async def test_closing_at_the_moment_of_a_grant_is_said_as_such() -> None:
    async with FakeOllama() as server:
        pool = OllamaPoolManager(settings=settings_for(server, max_concurrent=1))
        await pool.initialize()
        server.gate.clear()
        first = asyncio.ensure_future(pool.chat("llama3.2", "hi"))
        await until(lambda: server.in_flight == 1)
        second = asyncio.ensure_future(pool.chat("llama3.2", "hi"))
        await until(lambda: pool.queue_depth == 1)
        first.cancel()
        for _ in range(100):  # as soon as the slot is granted, and before the request has noticed
            if pool.queue_depth:
                await asyncio.sleep(0)
        assert pool.queue_depth == 0
        await pool.close()
        results = await asyncio.gather(first, second, return_exceptions=True)
        assert [type(result) for result in results] == [asyncio.CancelledError, EngineClosedError]


async def test_a_pool_is_closed_before_and_after() -> None:
    async with FakeOllama() as server:
        pool = OllamaPoolManager(settings=settings_for(server))
        with pytest.raises(EngineClosedError):
            await pool.chat("llama3.2", "hi")
        await pool.initialize()
        await pool.initialize()
        await pool.chat("llama3.2", "hi")
        await pool.close()
        await pool.close()
        with pytest.raises(EngineClosedError):
            await pool.chat("llama3.2", "hi")
        await pool.initialize()
        assert (await pool.chat("llama3.2", "hi")).text == "hi "
        await pool.close()


async def test_closing_ends_what_waits_and_what_runs() -> None:
    async with FakeOllama() as server:
        pool = OllamaPoolManager(settings=settings_for(server, max_concurrent=1))
        await pool.initialize()
        server.gate.clear()
        tasks = [asyncio.ensure_future(pool.chat("llama3.2", "hi")) for _ in range(2)]
        await until(lambda: server.in_flight == 1 and pool.queue_depth == 1)
        await pool.close()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [EngineClosedError, EngineClosedError]


async def test_another_loop_is_refused() -> None:
    async with FakeOllama() as server, pool_of(server) as pool:

        def elsewhere() -> None:
            with pytest.raises(WrongLoopError, match="event loop"):
                asyncio.run(pool.chat("llama3.2", "hi"))

        await asyncio.to_thread(elsewhere)


async def test_decisions_are_logged_without_prompts(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="gleitzeit_nb")
    async with FakeOllama("a") as server, pool_of(server) as pool:
        await pool.chat("llama3.2", "a private matter")
    lines = [record.getMessage() for record in caplog.records if record.name == "gleitzeit_nb.pool"]
    assert any("goes to a (a: picked: 0/4 in flight)" in line for line in lines)
    assert "private" not in caplog.text


async def test_no_instance_at_all_is_said_plainly() -> None:
    async with OllamaPoolManager(settings=PoolSettings()) as pool:
        with pytest.raises(NoInstanceError, match="no instance"):
            await pool.chat("llama3.2", "hi")


async def test_thoughts_and_tools_are_kept_apart_from_the_text() -> None:
    async with FakeOllama() as server, pool_of(server) as pool:
        call = {"function": {"name": "look", "arguments": {"at": 1}}}

        def lines(path: str, name: str, token: str, *, done: bool) -> dict[str, object]:
            message = {"role": "assistant", "content": "" if token == "hm " else token, "thinking": token if token == "hm " else ""}
            return {"model": name, "message": message | ({"tool_calls": [call]} if done else {}), "done": done}

        server._line = lines  # type: ignore[method-assign]
        chunks = [chunk async for chunk in pool.stream("llama3.2", "hm so", tools=[{"type": "function"}])]
    assert chunks[:2] == [Chunk(thinking="hm "), Chunk(text="so ")]
    reply = chunks[-1].reply
    assert reply is not None
    assert (reply.text, reply.thinking, reply.tool_calls) == ("so ", "hm ", (call,))


async def test_a_request_value_can_be_made_by_hand() -> None:
    async with FakeOllama() as server, pool_of(server) as pool:
        request = LLMRequest(id="x1", kind="chat", model="llama3.2", messages=({"role": "user", "content": "hi"},), system="be kind")
        chunks = [chunk async for chunk in pool.stream_request(request)]
    assert chunks[-1].reply is not None
    assert server.asked[0].body["messages"][0] == {"role": "system", "content": "be kind"}


async def test_without_a_model_too_an_error_names_what_was_asked_for_in_vain() -> None:
    async with FakeOllama("a") as a, pool_of(a) as pool:
        with pytest.raises(NoInstanceError, match=r"no instance can answer: asked for tags gpu\n  a  no tag gpu"):
            await pool.chat("", "x", tags=["gpu"])
        with pytest.raises(NoInstanceError, match="the pool has no instance 'b'; there are: a"):
            await pool.chat("", "x", instance="b")
        await pool.drain("a")
        with pytest.raises(NoInstanceError, match="a  draining"):
            await pool.chat("", "x")
