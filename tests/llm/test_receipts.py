"""Every request leaves one receipt, whatever its end, and no prompt in it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json

import pytest

from gleitzeit_nb.core.admission import AdmissionSettings
from gleitzeit_nb.core.receipts import Receipt
from gleitzeit_nb.errors import DeadlineExceededError, NoInstanceError, QueueFullError, StreamInterruptedError
from gleitzeit_nb.llm.pool import OllamaPoolManager
from gleitzeit_nb.llm.receipts import Receipts
from tests.llm.conftest import pool_of
from tests.support.fake_ollama import BROKEN, FakeOllama, Fault, Kind
from tests.support.waiting import until

CANARY = "canary-7f3a"


def only(pool: OllamaPoolManager) -> Receipt:
    (receipt,) = pool.receipts()
    return receipt


async def test_a_reply_carries_its_receipt() -> None:
    async with FakeOllama("a", on_gpu=True) as a:
        a.loaded["llama3.2:latest"] = 1
        async with pool_of(a) as pool:
            reply = await pool.chat("llama3.2", "one two")
            receipt = only(pool)
    assert reply.receipt is receipt
    assert (receipt.outcome, receipt.error, receipt.instance, receipt.kind, receipt.model) == ("ok", "", "a", "chat", "llama3.2")
    assert receipt.digest == hashlib.sha256(b"llama3.2:latest").hexdigest()
    assert (receipt.gpu.share, receipt.gpu.known_by, receipt.cold) == (1.0, "/api/ps", False)
    assert (receipt.usage.completion_tokens, receipt.usage.prompt_tokens, receipt.done_reason) == (2, 7, "stop")
    assert [(each.instance, each.standing) for each in receipt.candidates] == [("a", "picked")]
    assert [(each.instance, each.outcome) for each in receipt.tries] == [("a", "ok")]
    timings = receipt.timings
    assert timings.first_token_s is not None
    assert 0 <= timings.queue_s <= timings.first_token_s <= timings.total_s


async def test_how_the_gpu_is_known_is_said() -> None:
    async with FakeOllama("a") as a, FakeOllama("b") as b, pool_of(a) as pool:
        await pool.add_instance(b.settings(tags=("gpu",)))
        for name in ("a", "b"):
            await pool.chat("llama3.2", "hi", instance=name)
        tagged, plain = pool.receipts()
    assert [(each.gpu.share, each.gpu.known_by) for each in (plain, tagged)] == [(None, "unknown"), (None, "tag")]
    assert plain.cold is True


async def test_what_the_strategy_gave_each_stands_in_it() -> None:
    async with FakeOllama("a") as a, FakeOllama("b") as b, pool_of(a, b, strategy="least_loaded") as pool:
        a.gate.clear()
        first = asyncio.create_task(pool.chat("llama3.2", "hi", instance="a"))
        await until(lambda: a.in_flight == 1)
        await pool.chat("llama3.2", "hi")
        receipt = only(pool)
        a.gate.set()
        await first
        assert pool.receipts()[0].candidates[0].score is None, "it was alone"
    scores = {each.instance: each.score for each in receipt.candidates}
    assert scores["a"] is not None
    assert scores["b"] is not None
    assert scores["b"] < scores["a"]
    assert receipt.to_dict()["candidates"][0]["score"] == list(scores["a"])


async def test_failed_tries_stand_in_it() -> None:
    async with FakeOllama("a") as a, FakeOllama("b") as b:
        a.fault = BROKEN
        async with pool_of(a, b) as pool:
            await pool.chat("llama3.2", "hi", instance_preference="a")
            receipt = only(pool)
    assert [(each.instance, each.outcome) for each in receipt.tries] == [("a", "server_error"), ("b", "ok")]
    assert (receipt.retries, receipt.instance, receipt.outcome) == (1, "b", "ok")
    assert [(each.instance, each.standing) for each in receipt.candidates] == [("a", "tried"), ("b", "picked")]


async def test_a_failure_leaves_a_receipt() -> None:
    async with FakeOllama("a") as a, pool_of(a) as pool:
        with pytest.raises(NoInstanceError):
            await pool.chat("llama3.2", "hi", tags=["gpu"])
        a.fault = Fault(Kind.CUT, after=1)
        with pytest.raises(StreamInterruptedError):
            await pool.chat("llama3.2", "one two three")
        a.fault, a.gate = Fault(Kind.HANG_BEFORE_TOKEN), asyncio.Event()
        with pytest.raises(DeadlineExceededError):
            await pool.chat("llama3.2", "hi", deadline=0.1)
        late, cut, nobody = pool.receipts()
        assert pool.receipts(failed=True) == (late, cut, nobody)
        assert pool.receipts(1) == (late,)
    assert [each.outcome for each in (nobody, cut, late)] == ["failed"] * 3
    assert [each.error for each in (nobody, cut, late)] == ["NoInstanceError", "StreamInterruptedError", "DeadlineExceededError"]
    assert [(each.instance, each.standing, each.text) for each in nobody.candidates] == [("a", "no_tag", "no tag gpu")]
    assert (nobody.instance, nobody.tries, nobody.cold) == ("", (), None)
    assert [each.outcome for each in cut.tries] == ["truncated"]
    assert cut.timings.first_token_s is not None
    assert [each.outcome for each in late.tries] == ["deadline"]


async def test_a_cancelled_request_leaves_a_receipt() -> None:
    async with FakeOllama("a") as a, pool_of(a) as pool:
        a.gate = asyncio.Event()
        asking = asyncio.create_task(pool.chat("llama3.2", "hi"))
        await until(lambda: a.in_flight)
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking
        receipt = only(pool)
    assert (receipt.outcome, receipt.error, receipt.instance) == ("cancelled", "CancelledError", "a")
    assert [(each.instance, each.outcome) for each in receipt.tries] == [("a", "cancelled")]


async def test_a_stream_that_is_closed_early_was_cancelled_and_one_that_is_closed_late_was_not() -> None:
    async with FakeOllama("a") as a, pool_of(a) as pool:
        early = pool.stream("llama3.2", "one two three")
        await anext(early)
        await early.aclose()
        late = pool.stream("llama3.2", "one")
        while (await anext(late)).reply is None:
            pass
        await late.aclose()
        assert [each.outcome for each in pool.receipts()] == ["ok", "cancelled"]


async def test_who_finds_the_queue_full_gets_a_receipt_too() -> None:
    async with FakeOllama("a") as a, pool_of(a, max_concurrent=1, admission=AdmissionSettings(max_queue=1)) as pool:
        a.gate = asyncio.Event()
        waiting = [asyncio.create_task(pool.chat("llama3.2", "hi")) for _ in range(2)]
        await until(lambda: pool.queue_depth == 1 and a.in_flight == 1)
        with pytest.raises(QueueFullError):
            await pool.chat("llama3.2", "hi")
        assert only(pool).error == "QueueFullError"
        a.gate.set()
        await asyncio.gather(*waiting)
        assert len(pool.receipts()) == 3


async def test_a_receipt_is_plain_json_without_prompt_answer_or_key() -> None:
    async with FakeOllama("a", api_key=CANARY) as a, pool_of(a) as pool:
        await pool.chat("llama3.2", f"say {CANARY}")
        a.fault = Fault(Kind.CUT, after=1)
        with pytest.raises(StreamInterruptedError):
            await pool.chat("llama3.2", [{"role": "user", "content": f"{CANARY} {CANARY} {CANARY}"}])
        for receipt in pool.receipts():
            written = json.dumps(receipt.to_dict(), allow_nan=False)
            assert CANARY not in written + repr(receipt)
            assert json.loads(written)["schema_version"] == 1


async def test_only_the_last_ones_are_kept() -> None:
    async with FakeOllama("a") as a:
        receipts = Receipts(kept=3)
        pool = OllamaPoolManager(settings=None, instances=[{"id": "a", "url": a.url}], receipts=receipts)
        async with pool:
            for text in "12345":
                await pool.chat("llama3.2", text)
        assert [each.request_id for each in pool.receipts()] == ["r5", "r4", "r3"]


async def test_the_conversation_stands_in_it() -> None:
    async with FakeOllama("a") as a, pool_of(a) as pool:
        await pool.chat("llama3.2", "hi", session="trip")
        await pool.chat("llama3.2", "hi")
        alone, of_trip = pool.receipts()
    assert (of_trip.session, alone.session) == ("trip", "")
    assert of_trip.to_dict()["session"] == "trip"
