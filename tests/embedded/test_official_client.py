"""What Ollama's own Python client sees. The model is tiny: shapes are asserted, never facts."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import ollama
import pytest

from tests.embedded.conftest import COLORS, MODEL

pytestmark = pytest.mark.model

SHORT = {"temperature": 0, "num_predict": 8}
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 12}, "capital": {"type": "boolean"}},
    "required": ["city", "capital"],
}


def test_list_names_the_model_with_its_details(client: ollama.Client) -> None:
    (model,) = client.list().models
    assert model.model == MODEL
    assert model.size == 98_362_432
    assert model.digest == "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
    assert model.details is not None
    assert (model.details.family, model.details.parameter_size, model.details.quantization_level) == ("llama", "134.52M", "Q4_1")


def test_show_gives_header_capabilities_and_template(client: ollama.Client) -> None:
    shown = client.show(MODEL)
    assert shown.capabilities == ["completion"]
    assert shown.modelinfo is not None
    assert shown.modelinfo["llama.context_length"] == 8192
    assert shown.modelinfo["tokenizer.ggml.tokens"] == []
    assert "<|im_start|>" in (shown.template or "")


@pytest.mark.parametrize("name", ["SmolLM2:135M", "library/smollm2:135m", "registry.ollama.ai/library/smollm2:135m"])
def test_names_are_matched_as_ollama_matches_them(client: ollama.Client, name: str) -> None:
    assert client.show(name).details is not None


def test_an_implied_tag_is_latest_which_is_another_model(client: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError) as caught:
        client.show("smollm2")
    assert caught.value.status_code == 404


def test_preload_ps_and_unload(client: ollama.Client) -> None:
    assert client.generate(MODEL).done_reason == "load"
    (loaded,) = client.ps().models
    assert (loaded.name, loaded.size_vram, loaded.context_length) == (MODEL, 0, 4096)
    assert loaded.size is not None
    assert loaded.size > 50_000_000
    assert client.chat(MODEL, [], keep_alive=0).done_reason == "unload"


def test_a_negative_keep_alive_never_expires(client: ollama.Client) -> None:
    client.generate(MODEL, keep_alive=-1)
    (loaded,) = client.ps().models
    assert loaded.expires_at is not None
    assert loaded.expires_at.year > 2500
    client.generate(MODEL, keep_alive="5m")


def test_chat_answers_whole_with_its_counts(client: ollama.Client) -> None:
    reply = client.chat(MODEL, COLORS, options=SHORT)
    assert reply.message.role == "assistant"
    assert reply.message.content
    assert (reply.done, reply.done_reason) == (True, "length")
    assert reply.eval_count == 8
    assert (reply.prompt_eval_count or 0) > 10
    assert reply.total_duration is not None
    assert reply.eval_duration is not None
    assert reply.total_duration >= reply.eval_duration > 0


def test_chat_streams_the_same_text_and_ends_with_done(client: ollama.Client) -> None:
    chunks = list(client.chat(MODEL, COLORS, options=SHORT, stream=True))
    assert len(chunks) > 4
    assert [chunk.done for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert chunks[-1].done_reason == "length"
    assert "".join(chunk.message.content or "" for chunk in chunks) == client.chat(MODEL, COLORS, options=SHORT).message.content


def test_generate_whole_and_streaming_agree(client: ollama.Client) -> None:
    whole = client.generate(MODEL, "Name three colors.", options=SHORT)
    streamed = list(client.generate(MODEL, "Name three colors.", options=SHORT, stream=True))
    assert whole.response == "".join(chunk.response for chunk in streamed)
    assert streamed[-1].done
    assert whole.context
    assert all(isinstance(token, int) for token in whole.context)


def test_a_context_continues_the_conversation(client: ollama.Client) -> None:
    first = client.generate(MODEL, "Name three colors.", options=SHORT)
    second = client.generate(MODEL, "And three more?", context=first.context, options=SHORT)
    assert second.context is not None
    assert first.context is not None
    assert list(second.context[: len(first.context)]) == list(first.context)


def test_raw_leaves_the_template_out(client: ollama.Client) -> None:
    raw = client.generate(MODEL, "One, two, three, four,", raw=True, options=SHORT)
    templated = client.generate(MODEL, "One, two, three, four,", options=SHORT)
    assert (raw.prompt_eval_count or 0) < (templated.prompt_eval_count or 0)
    assert raw.context is None


def test_a_system_text_changes_the_prompt(client: ollama.Client) -> None:
    plain = client.generate(MODEL, "Name a color.", options=SHORT)
    ruled = client.generate(MODEL, "Name a color.", system="You answer with one word, and you are brief about it.", options=SHORT)
    assert plain.prompt_eval_count != ruled.prompt_eval_count


@pytest.mark.parametrize("call", ["chat", "generate", "raw"])
def test_a_json_schema_is_kept_to(client: ollama.Client, call: str) -> None:
    options = {"temperature": 0, "num_predict": 120}
    if call == "chat":
        text = client.chat(MODEL, [{"role": "user", "content": "Berlin as JSON"}], format=CITY, options=options).message.content
    else:
        text = client.generate(MODEL, "Berlin as JSON: ", format=CITY, raw=call == "raw", options=options).response
    value = json.loads(text or "")
    assert set(value) == {"city", "capital"}
    assert isinstance(value["capital"], bool)


def test_format_json_begins_an_object(client: ollama.Client) -> None:
    reply = client.chat(
        MODEL, [{"role": "user", "content": "A color as JSON"}], format="json", options={"temperature": 0, "num_predict": 40}
    )
    assert (reply.message.content or "").lstrip().startswith("{")


def test_temperature_zero_and_a_fixed_seed_repeat(client: ollama.Client) -> None:
    def answer(**options: float) -> str:
        return client.chat(MODEL, COLORS, options={"num_predict": 12, **options}).message.content or ""

    assert len({answer(temperature=0) for _ in range(3)}) == 1
    assert len({answer(seed=7, temperature=1.5) for _ in range(3)}) == 1
    assert len({answer(seed=seed, temperature=1.5) for seed in range(4)}) > 1


def test_stop_ends_the_text_before_the_word(client: ollama.Client) -> None:
    reply = client.chat(MODEL, COLORS, options={"temperature": 0, "stop": ["\n"]})
    assert reply.done_reason == "stop"
    assert "\n" not in (reply.message.content or "")


def test_logprobs_come_with_as_many_alternatives_as_asked(client: ollama.Client) -> None:
    chat = client.chat(MODEL, COLORS, logprobs=True, top_logprobs=3, options=SHORT)
    assert chat.logprobs is not None
    assert [len(entry.top_logprobs or ()) for entry in chat.logprobs] == [3] * len(chat.logprobs)
    assert all(entry.logprob <= 0 for entry in chat.logprobs)
    raw = client.generate(MODEL, "One, two,", raw=True, logprobs=True, options=SHORT)
    assert raw.logprobs is not None
    assert len(raw.logprobs) >= 7
    assert all(not entry.top_logprobs for entry in raw.logprobs)


@pytest.mark.parametrize("call", ["chat", "chat stream", "generate", "show", "embed"])
def test_an_unknown_model_is_not_found(client: ollama.Client, call: str) -> None:
    calls: dict[str, Callable[[], object]] = {
        "chat": lambda: client.chat("nope", COLORS),
        "chat stream": lambda: list(client.chat("nope", COLORS, stream=True)),
        "generate": lambda: client.generate("nope", "x"),
        "show": lambda: client.show("nope"),
        "embed": lambda: client.embed("nope", "x"),
    }
    with pytest.raises(ollama.ResponseError) as caught:
        calls[call]()
    assert caught.value.status_code == 404
    assert caught.value.error == "model 'nope' not found"


def test_embedding_with_a_chat_model_is_refused(client: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError, match="does not support embeddings") as caught:
        client.embed(MODEL, "x")
    assert caught.value.status_code == 501
    assert client.embed(MODEL, []).embeddings == []


def test_pull_of_a_known_model_shows_the_four_statuses(client: ollama.Client) -> None:
    lines = list(client.pull(MODEL, stream=True))
    assert [line.status for line in lines] == [
        "pulling manifest", "pulling b179c9523d0e", "verifying sha256 digest", "writing manifest", "success",
    ]  # fmt: skip
    assert lines[1].completed == lines[1].total == 98_362_432
    assert client.pull(MODEL).status == "success"


def test_pull_of_an_unknown_model_fails_in_the_stream(client: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError, match="pull model manifest: file does not exist") as streamed:
        list(client.pull("nope", stream=True))
    assert streamed.value.status_code == -1
    with pytest.raises(ollama.ResponseError) as whole:
        client.pull("nope")
    assert whole.value.status_code == 500


def test_four_requests_at_once_are_all_answered(client: ollama.Client) -> None:
    def ask(number: int) -> str:
        return client.chat(MODEL, [{"role": "user", "content": f"Say {number}."}], options=SHORT).message.content or ""

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(ask, range(4)))


def test_old_messages_are_dropped_when_the_prompt_is_too_long(client: ollama.Client) -> None:
    old = [{"role": "user", "content": "word " * 50}, {"role": "assistant", "content": "word " * 50}] * 10
    messages = [{"role": "system", "content": "Be brief."}, *old, {"role": "user", "content": "Name a color."}]
    reply = client.chat(MODEL, messages, options={**SHORT, "num_ctx": 256})
    assert 150 < (reply.prompt_eval_count or 0) < 256


def test_a_single_message_beyond_the_context_is_refused(client: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError, match="exceeds the available context size") as caught:
        client.chat(MODEL, [{"role": "user", "content": "word " * 5000}])
    assert caught.value.status_code == 400


def test_an_image_for_a_text_model_is_refused(client: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError, match="image input is not supported") as caught:
        client.chat(MODEL, [{"role": "user", "content": "What is this?", "images": ["iVBORw0KGgo="]}])
    assert caught.value.status_code == 500
