"""How long models stay, when they are loaded anew, who waits for whom, and what a lost client stops."""

from __future__ import annotations

import threading
import time

import httpx
import ollama
import pytest

from gleitzeit_nb.embedded import EmbeddedInstance
from tests.embedded.conftest import COLORS, MODEL, Connect, Launch, bearer, children, cpu_ticks
from tests.support.waiting import wait_until

pytestmark = pytest.mark.model

LONG = {"temperature": 0, "num_predict": 4000, "stop": []}
# An answer of at least 250,000 numbers: it cannot end before its bound of 10 contexts, which takes minutes.
ENDLESS = {"type": "array", "minItems": 500, "items": {"type": "array", "items": {"type": "integer"}, "minItems": 500}}
STORY = [{"role": "user", "content": "Tell me a very long story about a lighthouse."}]


def test_a_model_is_unloaded_when_its_time_is_over(launch: Launch, connect: Connect) -> None:
    instance = launch()
    client = connect(instance)
    client.generate(MODEL, keep_alive="100ms")
    wait_until(lambda: not client.ps().models)
    wait_until(lambda: not children(instance.pid))


def test_unload_ends_the_process_of_the_model(client: ollama.Client, embedded: EmbeddedInstance) -> None:
    client.generate(MODEL)
    assert len(children(embedded.pid)) == 1
    client.generate(MODEL, keep_alive=0)
    wait_until(lambda: not children(embedded.pid))
    assert client.ps().models == []


def test_another_context_loads_the_model_anew(client: ollama.Client, embedded: EmbeddedInstance) -> None:
    client.generate(MODEL)
    before = children(embedded.pid)
    client.generate(MODEL, options={"num_ctx": 512})
    assert client.ps().models[0].context_length == 512
    (small,) = children(embedded.pid)
    assert [small] != before
    client.generate(MODEL, options={"num_ctx": 512, "temperature": 0})
    assert children(embedded.pid) == [small]
    client.generate(MODEL, options={"num_ctx": 10_000_000})
    assert client.ps().models[0].context_length == 8192
    client.generate(MODEL)
    assert client.ps().models[0].context_length == 4096


def test_a_reload_waits_for_the_running_request(client: ollama.Client) -> None:
    client.generate(MODEL)
    stream = client.chat(MODEL, STORY, options={**LONG, "num_predict": 60}, stream=True)
    next(iter(stream))
    other = threading.Thread(target=client.generate, args=(MODEL,), kwargs={"options": {"num_ctx": 512}})
    other.start()
    chunks = list(stream)
    other.join(60)
    assert chunks[-1].done_reason == "length"
    assert client.ps().models[0].context_length == 512


@pytest.mark.parametrize("moment", ["after the first chunk", "before the first chunk", "without streaming"])
def test_a_lost_client_stops_the_generation(embedded: EmbeddedInstance, client: ollama.Client, moment: str) -> None:
    client.generate(MODEL)
    (child,) = children(embedded.pid)
    body = {"model": MODEL, "messages": STORY, "options": {"num_predict": -1}, "format": ENDLESS, "stream": moment != "without streaming"}
    if moment == "before the first chunk":  # a prompt that takes long to read
        body["messages"] = [{"role": "user", "content": "lighthouse " * 3000}]
    with httpx.Client(base_url=embedded.url, headers=bearer(embedded), timeout=httpx.Timeout(60, read=1.0), trust_env=False) as leaving:
        if moment == "after the first chunk":
            with leaving.stream("POST", "/api/chat", json=body) as response:
                next(response.iter_lines())
        else:
            with pytest.raises(httpx.ReadTimeout):
                leaving.post("/api/chat", json=body)

    def idle() -> bool:
        before = cpu_ticks(child)
        time.sleep(0.3)  # a span to measure over
        return cpu_ticks(child) - before <= 1

    wait_until(idle, limit_s=20)
    assert children(embedded.pid) == [child]
    assert client.chat(MODEL, COLORS, options={"num_predict": 2}).eval_count == 2


def test_a_client_that_leaves_during_a_load_ends_the_load(launch: Launch, connect: Connect) -> None:
    instance = launch()
    with httpx.Client(base_url=instance.url, headers=bearer(instance), timeout=httpx.Timeout(30, read=0.05), trust_env=False) as leaving:
        with pytest.raises(httpx.ReadTimeout):
            leaving.post("/api/generate", json={"model": MODEL})
    wait_until(lambda: not children(instance.pid))
    client = connect(instance)
    assert client.ps().models == []
    assert client.generate(MODEL).done_reason == "load"


def test_a_full_queue_of_loads_has_ollamas_text(launch: Launch, connect: Connect) -> None:
    client = connect(launch(max_queue=0))
    with pytest.raises(ollama.ResponseError) as caught:
        client.generate(MODEL)
    assert caught.value.status_code == 503
    assert caught.value.error == "server busy, please try again.  maximum pending requests exceeded"


def test_the_wait_for_a_slot_is_in_no_part_of_the_durations(launch: Launch, connect: Connect) -> None:
    client = connect(launch(parallel=1))
    client.generate(MODEL)
    stream = client.chat(MODEL, STORY, options={**LONG, "num_predict": 80}, stream=True)
    next(iter(stream))
    waiting: list[ollama.ChatResponse] = []
    other = threading.Thread(target=lambda: waiting.append(client.chat(MODEL, COLORS, options={"num_predict": 1})))
    other.start()
    list(stream)
    other.join(60)
    (reply,) = waiting
    parts = (reply.load_duration or 0) + (reply.prompt_eval_duration or 0) + (reply.eval_duration or 0)
    assert (reply.total_duration or 0) - parts > 20_000_000
