"""What happens when an instance fails: another answers, before the first token; after it, a typed error; and the breaker learns."""

from __future__ import annotations

import asyncio
import email.utils
import re
import time
from typing import Any

import pytest

from gleitzeit_nb.core import timeouts
from gleitzeit_nb.core.breaker import BreakerSettings
from gleitzeit_nb.core.settings import PoolSettings
from gleitzeit_nb.core.timeouts import TimeoutSettings
from gleitzeit_nb.errors import (
    AllInstancesFailedError,
    DeadlineExceededError,
    ModelNotFoundError,
    NoInstanceError,
    RequestRejectedError,
    RetryBudgetError,
    StreamInterruptedError,
)
from gleitzeit_nb.events import BreakerMoved, Failover
from gleitzeit_nb.llm.pool import OllamaPoolManager
from tests.llm.conftest import HASTY, pool_of
from tests.support.fake_ollama import BROKEN, BUSY, FakeOllama, Fault, Kind, status
from tests.support.waiting import until

BEFORE_A_TOKEN = [
    Fault(Kind.DISCONNECT),
    Fault(Kind.CUT),
    Fault(Kind.CLOSE),
    Fault(Kind.SHORT),
    Fault(Kind.END_EARLY),
    Fault(Kind.ERROR_LINE),
    Fault(Kind.BROKEN_LINE),
    Fault(Kind.HTML),
    Fault(Kind.EMPTY),
    Fault(Kind.HANG_BEFORE_HEADERS),
    Fault(Kind.HANG_BEFORE_TOKEN),
    BUSY,
    BROKEN,
    status(502, None),
    status(404, "model 'llama3.2' not found"),
    status(401, "unauthorized"),
    status(302, None, Location="http://elsewhere.invalid/"),
]


MIDWAY = [Kind.CUT, Kind.CLOSE, Kind.SHORT, Kind.STALL, Kind.END_EARLY, Kind.ERROR_LINE, Kind.BROKEN_LINE]


@pytest.mark.parametrize("fault", BEFORE_A_TOKEN, ids=lambda fault: f"{fault.kind.value} {fault.status}")
async def test_before_the_first_token_another_instance_answers(fault: Fault) -> None:
    async with FakeOllama("bad") as bad, FakeOllama("good") as good, pool_of(bad, good, timeouts=HASTY) as pool:
        bad.fault = fault
        reply = await pool.chat("llama3.2", "one two", instance_preference="bad")
        failovers = [event for event in pool.events.log if isinstance(event, Failover)]
    assert (reply.text, reply.instance, reply.route.retries) == ("one two ", "good", 1)
    assert [attempt.instance for attempt in reply.route.attempts] == ["bad", "good"]
    assert [(event.source, event.target) for event in failovers] == [("bad", "good")]
    assert len(good.asked) == 1


async def test_a_dead_instance_costs_no_request() -> None:
    async with FakeOllama("a") as a, FakeOllama("b") as b, pool_of(a, b) as pool:
        await a.die()
        replies = await asyncio.gather(*(pool.chat("llama3.2", f"n{number}") for number in range(30)))
    assert [reply.text for reply in replies] == [f"n{number} " for number in range(30)]
    assert {reply.instance for reply in replies} == {"b"}


async def test_failovers_are_there_to_be_shown() -> None:
    async with FakeOllama("a") as a, FakeOllama("b") as b, pool_of(a, b) as pool:
        await a.die()
        await pool.chat("llama3.2", "hi", instance_preference="a")
        (view,) = pool.failover_views()
        assert (view.source, view.target, view.model) == ("a", "b", "llama3.2")
        assert "refused the connection" in view.reason
        assert abs(view.at - time.time()) < 60


@pytest.mark.parametrize("kind", MIDWAY, ids=lambda kind: kind.value)
async def test_after_the_first_token_the_part_is_kept_and_nothing_is_asked_again(kind: Kind) -> None:
    async with FakeOllama("bad") as bad, FakeOllama("good") as good, pool_of(bad, good, timeouts=HASTY) as pool:
        bad.fault = Fault(kind, after=2)
        seen: list[str] = []

        async def read() -> None:
            async for chunk in pool.stream("llama3.2", "one two three", instance_preference="bad"):
                seen.append(chunk.text)

        with pytest.raises(StreamInterruptedError) as caught:
            await read()
        assert pool.in_flight == 0
    assert seen == ["one ", "two "]
    assert (caught.value.partial, caught.value.instance) == ("one two ", "bad")
    assert good.asked == []


@pytest.mark.parametrize("kind", MIDWAY, ids=lambda kind: kind.value)
async def test_on_request_an_answer_that_broke_off_is_asked_for_again_from_the_start(kind: Kind) -> None:
    async with FakeOllama("bad") as bad, FakeOllama("good") as good, pool_of(bad, good, timeouts=HASTY) as pool:
        bad.fault = Fault(kind, after=2)
        chunks = [chunk async for chunk in pool.stream("llama3.2", "one two three", instance_preference="bad", restart_on_cut=True)]
        reply = chunks[-1].reply
    begun = [chunk.restart for chunk in chunks].index(True)
    assert [chunk.text for chunk in chunks[:begun]] == ["one ", "two "]
    assert [chunk.text for chunk in chunks[begun + 1 :]] == ["one ", "two ", "three ", ""]
    assert reply is not None
    assert (reply.text, reply.instance) == ("one two three ", "good")
    assert [attempt.instance for attempt in reply.route.attempts] == ["bad", "good"]


async def test_when_nobody_can_go_on_the_part_is_kept_and_not_called_void() -> None:
    async with FakeOllama("a") as a, pool_of(a) as pool:
        a.fault = Fault(Kind.CUT, after=2)
        chunks = []

        async def read() -> None:
            async for chunk in pool.stream("llama3.2", "one two three", restart_on_cut=True):
                chunks.append(chunk)

        with pytest.raises(StreamInterruptedError) as caught:
            await read()
        assert [chunk.restart for chunk in chunks] == [False, False]
        assert caught.value.partial == "one two "
        assert isinstance(caught.value.__cause__, AllInstancesFailedError)


async def test_asking_again_is_bounded_by_tries_and_by_the_budget() -> None:
    async with FakeOllama("a") as a, FakeOllama("b") as b, FakeOllama("c") as c, pool_of(a, b, c, retry_attempts=1) as pool:
        a.fault = b.fault = c.fault = Fault(Kind.CUT, after=1)
        with pytest.raises(StreamInterruptedError):
            await pool.chat("llama3.2", "one two", restart_on_cut=True)
        assert len(a.asked) + len(b.asked) + len(c.asked) == 2
        assert pool._parts is not None
        while pool._parts.budget.spend(pool._parts.clock()):
            pass
        with pytest.raises(StreamInterruptedError):
            await pool.chat("llama3.2", "one two", restart_on_cut=True)
        assert len(a.asked) + len(b.asked) + len(c.asked) == 3


async def test_when_all_fail_the_error_lists_the_tries() -> None:
    async with FakeOllama("a") as a, FakeOllama("b") as b, FakeOllama("c") as c:
        settings = PoolSettings(instances=(a.settings(), b.settings(), c.settings(tags=("x",))))
        async with OllamaPoolManager(settings=settings) as pool:
            await pool.drain("c")
            a.fault = b.fault = BROKEN
            with pytest.raises(AllInstancesFailedError) as caught:
                await pool.chat("llama3.2", "hi")
    rows = dict(caught.value.attempts)
    assert set(rows) == {"a", "b", "c"}
    assert "HTTP 500, model runner has unexpectedly stopped" in rows["a"]
    assert rows["c"] == "not asked: draining"


async def test_tries_are_bounded() -> None:
    servers = [FakeOllama(f"s{number}") for number in range(5)]
    for server in servers:
        await server.listen()
        server.fault = BROKEN
    async with pool_of(*servers, retry_attempts=2) as pool:
        with pytest.raises(AllInstancesFailedError):
            await pool.chat("llama3.2", "hi")
    assert sum(len(server.asked) for server in servers) == 3
    for server in servers:
        await server.die()


async def test_failover_can_be_switched_off() -> None:
    async with FakeOllama("a") as a, FakeOllama("b") as b, pool_of(a, b, failover=False) as pool:
        a.fault = b.fault = BROKEN
        with pytest.raises(AllInstancesFailedError):
            await pool.chat("llama3.2", "hi")
    assert len(a.asked) + len(b.asked) == 1


async def test_a_refused_request_is_asked_once() -> None:
    async with FakeOllama("a") as a, FakeOllama("b") as b, pool_of(a, b) as pool:
        a.fault = b.fault = status(400, "top_logprobs must be between 0 and 20")
        with pytest.raises(RequestRejectedError, match="must be between 0 and 20") as caught:
            await pool.chat("llama3.2", "hi")
        assert caught.value.status == 400
        assert [view.state for view in pool.instance_views()] == ["healthy", "healthy"]
        assert [view.failed_requests for view in pool.instance_views()] == [0, 0]
    assert len(a.asked) + len(b.asked) == 1


async def test_wrong_credentials_everywhere_name_the_key() -> None:
    async with FakeOllama("a") as a, pool_of(a) as pool:
        a.fault = status(401, "unauthorized")
        with pytest.raises(RequestRejectedError, match="api_key"):
            await pool.chat("llama3.2", "hi")


async def test_a_missing_model_heals_the_list_and_is_asked_elsewhere() -> None:
    async with FakeOllama("a") as a, FakeOllama("b") as b, pool_of(a, b) as pool:
        a.models.clear()
        reply = await pool.chat("llama3.2", "hi", instance_preference="a")
        assert reply.instance == "b"
        assert dict(pool.explain("llama3.2"))["a"] == "has not the model llama3.2"
        b.models.clear()
        with pytest.raises(ModelNotFoundError):
            await pool.chat("llama3.2", "hi")
        assert [view.breaker for view in pool.instance_views()] == ["closed", "closed"]


async def test_a_busy_instance_is_asked_again_after_a_pause() -> None:
    async with FakeOllama("a") as a, pool_of(a) as pool:
        a.faults = [BUSY, BUSY]
        reply = await pool.chat("llama3.2", "hi")
        assert [attempt.outcome for attempt in reply.route.attempts] == ["busy", "busy", "ok"]
        assert [event for event in pool.events.log if isinstance(event, Failover | BreakerMoved)] == []
        assert pool.instance_views()[0].failed_requests == 0


async def test_a_fallback_answers_when_the_first_model_fails_everywhere() -> None:
    async with FakeOllama("a", models=["big:70b", "small:1b"]) as a, pool_of(a) as pool:
        a.faults = [BROKEN]
        reply = await pool.chat("big:70b", "hi", fallback_model="small:1b")
    assert reply.model == "small:1b"


async def test_one_deadline_covers_all_tries() -> None:
    async with FakeOllama("a") as a, FakeOllama("b") as b, pool_of(a, b) as pool:
        a.fault = b.fault = Fault(Kind.HANG_BEFORE_HEADERS)
        with pytest.raises(DeadlineExceededError) as caught:
            await pool.chat("llama3.2", "hi", deadline=0.3)
        assert [row[1].split(" (")[0] for row in caught.value.attempts] == ["the deadline ran out while it loaded llama3.2"]
        assert re.search(r"deadline of 0\.3 s: 0\.\d s in the queue, \d\.\d s loading the model\. Allow more", str(caught.value))
        assert pool.in_flight == 0
        await until(lambda: a.abandoned + b.abandoned == 1)


async def test_the_error_says_where_the_deadline_went() -> None:
    hasty = TimeoutSettings(first_token_warm_s=30.0, first_token_cold_s=0.3)
    async with FakeOllama("a") as a, FakeOllama("b") as b, pool_of(a, b, timeouts=hasty) as pool:
        await pool.chat("llama3.2", "hi", instance="b")
        a.fault = b.fault = Fault(Kind.HANG_BEFORE_HEADERS)
        with pytest.raises(DeadlineExceededError) as caught:
            await pool.chat("llama3.2", "hi", instance_preference="a", deadline=1.2)
        assert re.search(r"0\.\d s in the queue, \d\.\d s loading the model, \d\.\d s in 2 tries", str(caught.value)), str(caught.value)
        assert [what.split(" (")[0] for _, what in caught.value.attempts] == [
            "sent nothing in time",
            "the deadline ran out before the first token",
        ]


async def test_the_time_for_a_first_token_follows_what_is_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeouts, "WARM_S", 0.1)
    async with FakeOllama("a") as a, FakeOllama("b") as b, pool_of(a, b) as pool:
        for _ in range(3):
            await pool.chat("llama3.2", "hi", instance_preference="a")
        a.fault = Fault(Kind.HANG_BEFORE_HEADERS)
        started = time.monotonic()
        reply = await pool.chat("llama3.2", "hi", instance_preference="a")
        assert [attempt.outcome for attempt in reply.route.attempts] == ["first_byte_timeout", "ok"]
        assert time.monotonic() - started < 10


async def test_a_deadline_after_the_first_token_keeps_the_part() -> None:
    async with FakeOllama("a") as a, pool_of(a) as pool:
        a.fault = Fault(Kind.STALL, after=1)
        with pytest.raises(StreamInterruptedError, match="deadline") as caught:
            await pool.chat("llama3.2", "one two", deadline=0.5)
        assert caught.value.partial == "one "
        assert pool.instance_views()[0].failed_requests == 0


# -- the retry budget -------------------------------------------------------------------------------------------------------------


async def test_repeated_failures_use_up_the_pools_budget_and_the_error_says_so() -> None:
    breaker = BreakerSettings(failure_threshold=1000)
    async with FakeOllama("a") as a, FakeOllama("b") as b, pool_of(a, b, breaker=breaker, retry_attempts=1) as pool:
        a.fault = b.fault = Fault(Kind.HTML)
        errors = []
        for _ in range(6):
            with pytest.raises(AllInstancesFailedError) as caught:
                await pool.chat("llama3.2", "hi")
            errors.append(caught.value)
        broke = [type(error) is RetryBudgetError for error in errors]
        assert broke == [False, False, False, True, False, True]  # the fifth request has earned one
        assert "4 retries in the last 10 s; 20% of 6 requests and 3 are allowed" in str(errors[-1])
        assert any("HTML page" in what for _, what in errors[-1].attempts)
        assert len(a.asked) + len(b.asked) == 4 * 2 + 2


async def test_with_the_budget_used_up_nobody_waits_for_a_slot_to_try_again() -> None:
    async with FakeOllama("a") as a, FakeOllama("b") as b, pool_of(a, b, max_concurrent=1) as pool:
        b.gate.clear()
        running = asyncio.ensure_future(pool.chat("llama3.2", "hi", instance="b"))
        await until(lambda: b.in_flight == 1)
        assert pool._parts is not None
        while pool._parts.budget.spend(pool._parts.clock()):
            pass
        a.faults = [Fault(Kind.HTML)]
        with pytest.raises(RetryBudgetError):
            await asyncio.wait_for(pool.chat("llama3.2", "hi", instance_preference="a"), 10)
        b.gate.set()
        await running


async def test_what_an_ejection_moves_elsewhere_costs_the_budget_nothing() -> None:
    async with FakeOllama("a") as a, FakeOllama("b") as b, pool_of(a, b, max_concurrent=30, timeouts=HASTY) as pool:
        a.fault = Fault(Kind.HANG_BEFORE_HEADERS)
        replies = await asyncio.gather(*(pool.chat("llama3.2", f"n{number}", instance_preference="a") for number in range(30)))
        assert {reply.instance for reply in replies} == {"b"}
        assert pool._parts is not None
        assert pool._parts.budget.retries == 2  # the third fault in a row opened the breaker


async def test_what_was_declined_costs_the_budget_nothing() -> None:
    async with FakeOllama("a") as a, FakeOllama("b") as b, pool_of(a, b) as pool:
        a.fault = status(401, "unauthorized")
        for _ in range(20):
            assert (await pool.chat("llama3.2", "hi", instance_preference="a")).instance == "b"


# -- busy -------------------------------------------------------------------------------------------------------------------------


async def test_a_busy_instance_is_left_alone_for_longer_and_longer_and_asked_by_one_at_a_time() -> None:
    async with FakeOllama("a") as a, FakeOllama("b") as b, pool_of(a, b, max_concurrent=4) as pool:
        a.fault = BUSY
        started = time.monotonic()
        while time.monotonic() - started < 1.2:
            await asyncio.gather(*(pool.chat("llama3.2", "hi", instance_preference="a") for _ in range(3)))
            await asyncio.sleep(0.01)
        assert len(a.asked) <= 3 + 2
        assert pool.instance_views()[0].breaker == "closed"
        a.fault = None
        await until(lambda: dict(pool.explain("llama3.2", instance_preference="a"))["a"].startswith("picked"))
        assert (await pool.chat("llama3.2", "hi", instance_preference="a")).instance == "a"


@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_what_a_busy_instance_asks_for_is_honoured(form: str) -> None:
    later = "30" if form == "seconds" else email.utils.formatdate(time.time() + 30, usegmt=True)
    async with FakeOllama("a") as a, FakeOllama("b") as b, pool_of(a, b) as pool:
        a.faults = [status(429, "too many", Retry_After=later)]
        assert (await pool.chat("llama3.2", "hi", instance_preference="a")).instance == "b"
        words = dict(pool.explain("llama3.2"))["a"]
        assert re.fullmatch(r"said that it is busy, asked again in (2[5-9]|30)\.\d s", words), words


async def test_a_connection_that_was_closed_is_tried_again_on_the_same_instance_when_there_is_no_other() -> None:
    async with FakeOllama("a") as a, pool_of(a) as pool:
        a.faults = [Fault(Kind.DISCONNECT)]
        reply = await pool.chat("llama3.2", "hi")
        assert [attempt.outcome for attempt in reply.route.attempts] == ["disconnected", "ok"]


# -- the breaker ----------------------------------------------------------------------------------------------------------------


def moves(pool: OllamaPoolManager) -> list[Any]:
    return [(event.instance, event.before, event.after) for event in pool.events.log if isinstance(event, BreakerMoved)]


async def test_a_refused_connection_ejects_at_once_and_the_next_request_does_not_ask() -> None:
    async with FakeOllama("a") as a, FakeOllama("b") as b:
        async with pool_of(a, b, breaker=BreakerSettings(first_ejection_s=60.0, recovery_timeout_s=60.0)) as pool:
            await a.die()
            for _ in range(5):
                assert (await pool.chat("llama3.2", "hi", instance_preference="a")).instance == "b"
            assert moves(pool) == [("a", "closed", "open")]
            assert len(pool.failover_views()) == 1
            view = pool.instance_views()[0]
            assert (view.breaker, view.state) == ("open", "unhealthy")
            assert view.retry_in_s is not None


async def test_faults_in_a_row_eject_and_a_probe_brings_back() -> None:
    breaker = BreakerSettings(failure_threshold=2, first_ejection_s=0.05, recovery_timeout_s=0.05)
    async with FakeOllama("a") as a, FakeOllama("b") as b, pool_of(a, b, breaker=breaker) as pool:
        a.faults = [Fault(Kind.HTML), Fault(Kind.HTML)]
        for _ in range(2):
            assert (await pool.chat("llama3.2", "hi", instance_preference="a")).instance == "b"
        assert pool.instance_views()[0].breaker == "open"
        await asyncio.sleep(0.06)
        assert (await pool.chat("llama3.2", "hi", instance_preference="a")).instance == "a"
        assert moves(pool) == [("a", "closed", "open"), ("a", "open", "half_open"), ("a", "half_open", "closed")]


async def test_a_model_that_fails_ejects_only_itself() -> None:
    breaker = BreakerSettings(failure_threshold=1, first_ejection_s=60.0, recovery_timeout_s=60.0)
    async with FakeOllama("a", models=["x", "y"]) as a, FakeOllama("b", models=["x", "y"]) as b, pool_of(a, b, breaker=breaker) as pool:
        a.faults = [Fault(Kind.ERROR_LINE)]
        assert (await pool.chat("x", "hi", instance_preference="a")).instance == "b"
        assert (await pool.chat("x", "hi", instance_preference="a")).instance == "b"
        assert (await pool.chat("y", "hi", instance_preference="a")).instance == "a"
        assert pool.instance_views()[0].breaker == "closed"
        assert pool.instance_views()[0].state == "degraded"
        assert "x fails there: it reported an error" in pool.instance_views()[0].reason


async def test_a_clean_end_without_done_is_held_against_the_model_there_not_the_instance() -> None:
    async with FakeOllama("a") as a, pool_of(a, breaker=BreakerSettings(failure_threshold=1)) as pool:
        a.faults = [Fault(Kind.END_EARLY, after=1)]
        with pytest.raises(StreamInterruptedError):
            await pool.chat("llama3.2", "hi there")
        assert pool.instance_views()[0].breaker == "closed"
        assert "llama3.2 fails there" in pool.instance_views()[0].reason


async def test_all_down_is_an_answer_within_a_second_with_every_reason() -> None:
    async with FakeOllama("a") as a, FakeOllama("b") as b:
        breaker = BreakerSettings(first_ejection_s=60.0, recovery_timeout_s=60.0)
        async with pool_of(a, b, breaker=breaker) as pool:
            await a.die()
            await b.die()
            for _ in range(2):  # once because they are closed, once because most are ejected
                with pytest.raises(AllInstancesFailedError) as tried:
                    await pool.chat("llama3.2", "hi")
                assert {(name, what.split(" (")[0]) for name, what in tried.value.attempts} >= {
                    ("a", "refused the connection"),
                    ("b", "refused the connection"),
                }
            started = time.monotonic()
            with pytest.raises(NoInstanceError, match="ejected") as caught:
                await pool.chat("llama3.2", "hi")
            assert time.monotonic() - started < 5
            assert all("ejected (refused the connection), next probe in" in reason for _, reason in caught.value.rejections)


async def test_all_down_is_an_answer_in_time_though_ejections_end_between() -> None:
    servers = [FakeOllama(name) for name in "abc"]
    for server in servers:
        await server.listen()
    async with pool_of(*servers) as pool:
        for server in servers:
            await server.die()
        for _ in range(6):
            started = time.monotonic()
            with pytest.raises((AllInstancesFailedError, NoInstanceError)):
                await pool.chat("llama3.2", "hi")
            assert time.monotonic() - started < 1.5  # patience is 0.9 s in all, however often a try ended a wait


async def test_while_most_are_ejected_each_is_tried_once_all_the_same() -> None:
    breaker = BreakerSettings(failure_threshold=1, first_ejection_s=60.0, recovery_timeout_s=60.0)
    async with FakeOllama("a") as a, FakeOllama("b") as b, FakeOllama("c") as c, pool_of(a, b, c, breaker=breaker) as pool:
        a.faults, b.faults, c.faults = ([Fault(Kind.HTML)] for _ in range(3))
        with pytest.raises(AllInstancesFailedError):
            await pool.chat("llama3.2", "hi")
        assert [view.breaker for view in pool.instance_views()] == ["open"] * 3
        reply = await pool.chat("llama3.2", "hi again")
        assert reply.text == "hi again "
        assert sorted(view.breaker for view in pool.instance_views()) == ["closed", "open", "open"]
        reasons = [event.reason for event in pool.events.log if isinstance(event, BreakerMoved) and event.after == "half_open"]
        assert reasons == ["most instances are ejected, so it is tried all the same"]


async def test_with_most_of_them_well_an_ejected_one_is_left_alone() -> None:
    breaker = BreakerSettings(failure_threshold=1, first_ejection_s=60.0, recovery_timeout_s=60.0)
    async with (
        FakeOllama("a") as a,
        FakeOllama("b") as b,
        FakeOllama("c") as c,
        pool_of(a, b, c, breaker=breaker, max_concurrent=1) as pool,
    ):
        a.faults = [Fault(Kind.HTML)]
        await pool.chat("llama3.2", "hi", instance_preference="a")
        await asyncio.gather(*(pool.chat("llama3.2", "hi", instance_preference="a") for _ in range(20)))
    assert len(a.asked) == 1


async def test_a_server_that_restarts_is_waited_for_a_moment() -> None:
    async with FakeOllama("a") as a:
        async with pool_of(a, breaker=BreakerSettings(first_ejection_s=0.5, recovery_timeout_s=0.5)) as pool:
            await a.die()
            asking = asyncio.ensure_future(pool.chat("llama3.2", "hi"))
            await until(lambda: pool.instance_views()[0].breaker == "open")
            await until(lambda: [view.state for view in pool.run_views()] == ["waiting for an instance to come back"])
            await a.listen()
            reply = await asking
        assert [attempt.outcome for attempt in reply.route.attempts] == ["refused", "ok"]


async def test_waiting_for_the_first_to_come_back() -> None:
    async with FakeOllama("a") as a:
        async with pool_of(a, breaker=BreakerSettings(first_ejection_s=0.3, recovery_timeout_s=0.3)) as pool:
            await a.die()
            with pytest.raises(AllInstancesFailedError):
                await pool.chat("llama3.2", "hi")
            await a.listen()
            assert (await pool.chat("llama3.2", "hi")).text == "hi "


async def test_a_dead_instance_is_used_again_soon_after_it_is_back() -> None:
    breaker = BreakerSettings(first_ejection_s=60.0, recovery_timeout_s=60.0)
    async with FakeOllama("a") as a, FakeOllama("b") as b, pool_of(a, b, breaker=breaker) as pool:
        await a.die()
        await pool.chat("llama3.2", "hi", instance_preference="a")
        assert pool.instance_views()[0].state == "unhealthy"
        await a.listen()
        started = time.monotonic()
        await until(lambda: pool.instance_views()[0].breaker == "half_open")
        assert time.monotonic() - started < 5
        assert (await pool.chat("llama3.2", "hi", instance_preference="a")).instance == "a"
        assert pool.instance_views()[0].breaker == "closed"
