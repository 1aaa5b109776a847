"""Statuses, texts and headers on the wire, as a server of Ollama's API has to send them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest

from gleitzeit_nb.embedded import EmbeddedInstance, weights
from gleitzeit_nb.embedded.api import VERSION
from tests.embedded.conftest import COLORS, MODEL, Launch, bearer
from tests.support.waiting import wait_until

pytestmark = pytest.mark.model

TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {}}}}


BOGUS = {"type": "bogus"}


def error_of(response: httpx.Response) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/json; charset=utf-8"
    return response.status_code, response.json()["error"]


def test_the_root_says_that_ollama_is_running(http: httpx.Client) -> None:
    answer = http.get("/")
    assert (answer.status_code, answer.text) == (200, "Ollama is running")
    assert http.head("/").status_code == 200


@pytest.mark.parametrize("path", ["/api/version", "/api/tags"])
def test_version_and_tags_answer_to_get_and_head(http: httpx.Client, path: str) -> None:
    assert http.get(path).headers["content-type"] == "application/json; charset=utf-8"
    assert http.head(path).status_code == 200


def test_the_version_says_that_it_is_embedded(http: httpx.Client) -> None:
    assert http.get("/api/version").json() == {"version": VERSION}
    assert VERSION.endswith("-embedded")


def test_ps_does_not_answer_to_head(http: httpx.Client) -> None:
    assert http.head("/api/ps").status_code == 405


def test_unknown_paths_and_wrong_methods_have_ollamas_texts(http: httpx.Client) -> None:
    missing = http.get("/api/nothing")
    assert (missing.status_code, missing.text) == (404, "404 page not found")
    wrong = http.get("/api/chat")
    assert (wrong.status_code, wrong.text) == (405, "405 method not allowed")


@pytest.mark.parametrize("path", ["/api/create", "/api/copy", "/api/push", "/v1/chat/completions", "/v1/models", "/api/me"])
def test_what_is_not_served_is_not_found(http: httpx.Client, path: str) -> None:
    assert http.post(path, json={}).status_code == 404


def test_chunks_are_ndjson_and_a_whole_answer_is_json(http: httpx.Client) -> None:
    body = {"model": MODEL, "messages": COLORS, "options": {"num_predict": 3}}
    streamed = http.post("/api/chat", json=body)
    assert streamed.headers["content-type"] == "application/x-ndjson"
    assert all(isinstance(json.loads(line), dict) for line in streamed.text.strip().split("\n"))
    whole = http.post("/api/chat", json={**body, "stream": False})
    assert whole.headers["content-type"] == "application/json; charset=utf-8"
    assert whole.json()["done"] is True


def test_a_load_is_one_json_object_even_when_streaming(http: httpx.Client) -> None:
    loaded = http.post("/api/chat", json={"model": MODEL, "messages": []})
    assert loaded.headers["content-type"] == "application/json; charset=utf-8"
    assert loaded.json()["done_reason"] == "load"
    assert "eval_count" not in loaded.json()


def test_the_model_is_named_as_it_was_asked_for(http: httpx.Client) -> None:
    assert http.post("/api/generate", json={"model": "SmolLM2:135m"}).json()["model"] == "SmolLM2:135m"


@pytest.mark.parametrize("path", ["/api/chat", "/api/generate", "/api/embed", "/api/embeddings", "/api/show", "/api/pull"])
def test_a_missing_body_and_bad_json_are_refused(http: httpx.Client, path: str) -> None:
    assert error_of(http.post(path)) == (400, "missing request body")
    assert error_of(http.post(path, content=b"{nope"))[0] == 400
    assert error_of(http.post(path, content=b"[]"))[0] == 400
    assert error_of(http.post(path, content=b'{"model": NaN}'))[0] == 400


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/api/chat", 400, "model is required"),
        ("/api/show", 400, "model is required"),
        ("/api/embeddings", 400, "model is required"),
        ("/api/generate", 404, "model '' not found"),
        ("/api/embed", 404, "model '' not found"),
    ],
)
def test_a_request_without_a_model(http: httpx.Client, path: str, status: int, text: str) -> None:
    assert error_of(http.post(path, json={"stream": False})) == (status, text)


REFUSED: list[tuple[str, dict[str, Any], int, str]] = [
    ("chat", {"tools": [TOOL]}, 400, f"registry.ollama.ai/library/{MODEL} does not support tools"),
    ("chat", {"think": True}, 400, f'"{MODEL}" does not support thinking'),
    ("generate", {"think": "high"}, 400, f'"{MODEL}" does not support thinking'),
    ("chat", {"think": "very"}, 400, 'invalid think value: "very" (must be true, false, "high", "medium", "low", or "max")'),
    ("generate", {"suffix": "end"}, 400, f"registry.ollama.ai/library/{MODEL} does not support insert"),
    ("chat", {"top_logprobs": 21}, 400, "top_logprobs must be between 0 and 20"),
    ("generate", {"raw": True, "system": "s"}, 400, "raw mode does not support template, system, or context"),
    ("chat", {"options": {"num_ctx": "big"}}, 500, 'option "num_ctx" must be of type integer'),
    ("chat", {"options": {"temperature": "hot"}}, 500, 'option "temperature" must be of type float32'),
    ("generate", {"options": {"stop": "x"}}, 500, 'option "stop" must be of type array'),
    ("chat", {"format": "xml"}, 500, "invalid format: 'xml'; expected \"json\" or a valid JSON Schema object"),
    ("generate", {"format": BOGUS, "raw": True}, 500, 'invalid format: unknown type "bogus"; expected "json" or a valid JSON Schema'),
    ("chat", {"keep_alive": "300"}, 400, 'time: missing unit in duration "300"'),
    ("chat", {"stream": "yes"}, 400, "json: cannot unmarshal string into Go struct field Request.stream of type bool"),
    ("chat", {"messages": "hi"}, 400, "json: cannot unmarshal string into Go struct field ChatRequest.messages of type slice"),
    ("chat", {"messages": [{"content": 3}]}, 400, "json: cannot unmarshal number into Go struct field Message.content of type string"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("call", "fields", "status", "text"), REFUSED, ids=[f"{call}-{next(iter(fields))}-{n}" for n, (call, fields, *_) in enumerate(REFUSED)]
)
def test_refusals_have_ollamas_status_and_text(http: httpx.Client, call: str, fields: dict[str, Any], status: int, text: str) -> None:
    body = {"model": MODEL, "messages": COLORS} if call == "chat" else {"model": MODEL, "prompt": "x"}
    assert error_of(http.post(f"/api/{call}", json={**body, **fields})) == (status, text)


def test_unknown_fields_and_options_are_ignored(http: httpx.Client) -> None:
    body = {"model": MODEL, "messages": COLORS, "stream": False, "colour": 1, "options": {"num_predict": 2, "colour": 2, "num_gpu": None}}
    assert http.post("/api/chat", json=body).json()["eval_count"] == 2


def test_verbose_show_gives_the_long_arrays(http: httpx.Client) -> None:
    info = http.post("/api/show", json={"model": MODEL, "verbose": True}).json()["model_info"]
    assert len(info["tokenizer.ggml.tokens"]) == 49152


def test_the_rendered_prompt_can_be_looked_at(http: httpx.Client) -> None:
    body = {"model": MODEL, "messages": COLORS, "_debug_render_only": True, "stream": False}
    assert "Name three colors." in http.post("/api/chat", json=body).json()["_debug_info"]["rendered_template"]


@pytest.mark.parametrize("authorization", [None, "Bearer wrong", "Basic abc", "Bearer"])
def test_without_the_token_only_the_root_answers(embedded: EmbeddedInstance, authorization: str | None) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    with httpx.Client(base_url=embedded.url, headers=headers, trust_env=False) as stranger:
        for path in ("/api/version", "/api/tags", "/api/ps", "/api/nothing"):
            assert error_of(stranger.get(path)) == (401, "unauthorized")
        assert error_of(stranger.post("/api/chat", json={"model": MODEL})) == (401, "unauthorized")
        assert stranger.post("/").status_code == 401
        assert stranger.get("/").status_code == 200


@pytest.mark.parametrize(
    "header", [{"Host": "evil.example"}, {"Host": "evil.example:80"}, {"Origin": "http://evil.example"}, {"Origin": "null"}]
)
def test_foreign_hosts_and_origins_are_forbidden(embedded: EmbeddedInstance, header: dict[str, str]) -> None:
    with httpx.Client(base_url=embedded.url, headers={**bearer(embedded), **header}, trust_env=False) as stranger:
        answer = stranger.get("/api/tags")
    assert (answer.status_code, answer.content) == (403, b"")


def test_local_origins_are_served_with_cors_headers(http: httpx.Client) -> None:
    answer = http.get("/api/tags", headers={"Origin": "http://localhost:8888"})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, "http://localhost:8888")
    preflight = http.options("/api/chat", headers={"Origin": "app://obsidian.md", "Access-Control-Request-Method": "POST"})
    assert preflight.status_code == 204
    assert "POST" in preflight.headers["access-control-allow-methods"]


def test_a_deleted_model_is_gone_from_the_lists_and_the_cache_and_unloaded(launch: Launch, smollm2_weights: Path, tmp_path: Path) -> None:
    cached = weights.cached_path(weights.known_model(MODEL), tmp_path)
    cached.parent.mkdir(parents=True)
    cached.symlink_to(smollm2_weights)
    instance = launch(cache_dir=tmp_path)
    with httpx.Client(base_url=instance.url, headers=bearer(instance), timeout=120) as http:
        http.post("/api/generate", json={"model": MODEL}).raise_for_status()
        refused = http.request("DELETE", "/api/delete", json={"model": "nobody:1b"})
        assert error_of(refused) == (404, "model 'nobody:1b' not found")
        done = http.request("DELETE", "/api/delete", json={"model": MODEL})
        assert (done.status_code, done.content) == (200, b"")
        assert http.get("/api/tags").json() == {"models": []}
        assert http.post("/api/show", json={"model": MODEL}).status_code == 404
        wait_until(lambda: http.get("/api/ps").json() == {"models": []})
    assert not cached.exists()


def test_a_users_own_file_outlives_its_model(launch: Launch, smollm2_weights: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.gguf"
    shutil.copyfile(smollm2_weights, own)
    instance = launch(model=str(own))
    with httpx.Client(base_url=instance.url, headers=bearer(instance), timeout=120) as http:
        assert http.request("DELETE", "/api/delete", json={"model": "own"}).status_code == 200
        assert http.get("/api/tags").json() == {"models": []}
    assert own.exists()
