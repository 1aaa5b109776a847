"""The embedding routes on a real engine: the small model's own file, with a header that asks for mean pooling."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import httpx
import ollama
import pytest

from gleitzeit_nb.embedded import EmbeddedInstance
from gleitzeit_nb.embedded.gguf import read_header
from tests.embedded.conftest import bearer

pytestmark = pytest.mark.model
NAME = "pooled:latest"


@pytest.fixture(scope="module")
def pooled_weights(smollm2_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two entries of 64 bytes together are put in front, so that the alignment of the tensors stays."""
    key, pad = b"llama.pooling_type", b"x.pad"
    added = struct.pack("<Q", len(key)) + key + struct.pack("<II", 4, 1)
    added += struct.pack("<Q", len(pad)) + pad + struct.pack("<IQ", 8, 5) + b"xxxxx"
    assert len(added) == 64
    original = smollm2_weights.read_bytes()
    (entries,) = struct.unpack_from("<Q", original, 16)
    path = tmp_path_factory.mktemp("pooled") / "Pooled.gguf"
    path.write_bytes(original[:16] + struct.pack("<Q", entries + 2) + added + original[24:])
    return path


@pytest.fixture(scope="module")
def instance(pooled_weights: Path, model_cache: Path) -> EmbeddedInstance:
    with EmbeddedInstance.launch("pooled", model=str(pooled_weights), cache_dir=model_cache, num_ctx=64) as launched:
        yield launched


@pytest.fixture
def client(instance: EmbeddedInstance) -> ollama.Client:
    with ollama.Client(instance.url, headers=bearer(instance), timeout=120, trust_env=False) as connected:
        yield connected


def length(vector: object) -> float:
    return math.sqrt(sum(value * value for value in vector))


def test_a_file_of_ones_own_is_served_under_its_name(client: ollama.Client, pooled_weights: Path) -> None:
    assert read_header(pooled_weights).is_embedding
    (model,) = client.list().models
    assert model.model == NAME
    assert client.show("Pooled").capabilities == ["embedding"]


def test_vectors_have_length_one_and_differ(client: ollama.Client) -> None:
    answer = client.embed(NAME, ["A cat sat on the mat.", "Interest rates rose."])
    first, second = answer.embeddings
    assert len(first) == len(second) == 576
    assert length(first) == pytest.approx(1, abs=1e-6)
    assert first != second
    assert (answer.prompt_eval_count or 0) > 8
    assert client.embed(NAME, "A cat sat on the mat.").embeddings[0] == pytest.approx(first, abs=1e-3)


def test_dimensions_cut_and_scale_again(client: ollama.Client) -> None:
    (whole,), (cut,) = client.embed(NAME, "x y z").embeddings, client.embed(NAME, "x y z", dimensions=10).embeddings
    assert len(cut) == 10
    assert length(cut) == pytest.approx(1, abs=1e-6)
    assert cut[0] / cut[1] == pytest.approx(whole[0] / whole[1], rel=1e-3)


def test_a_long_input_is_cut_unless_that_is_refused(client: ollama.Client) -> None:
    long = "word " * 500
    answer = client.embed(NAME, long)
    assert answer.prompt_eval_count == 62
    with pytest.raises(ollama.ResponseError) as caught:
        client.embed(NAME, long, truncate=False)
    assert (caught.value.status_code, caught.value.error) == (400, "the input length exceeds the context length")


@pytest.mark.parametrize("given", [3, [1], {"a": 1}])
def test_an_input_that_is_no_text_is_refused(instance: EmbeddedInstance, given: object) -> None:
    answer = httpx.post(f"{instance.url}/api/embed", json={"model": NAME, "input": given}, headers=bearer(instance), trust_env=False)
    assert (answer.status_code, answer.json()) == (400, {"error": "invalid input type"})


def test_the_old_route_answers_in_its_old_form(client: ollama.Client) -> None:
    assert len(client.embeddings(NAME, "A cat.").embedding) == 576
    assert list(client.embeddings(NAME, "").embedding) == []
    with pytest.raises(ollama.ResponseError, match='model "nope" not found, try pulling it first') as caught:
        client.embeddings("nope", "x")
    assert caught.value.status_code == 404


def test_an_embedding_model_neither_chats_nor_generates(client: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError, match=f'"{NAME}" does not support chat'):
        client.chat(NAME, [{"role": "user", "content": "x"}])
    with pytest.raises(ollama.ResponseError, match=f'"{NAME}" does not support generate'):
        client.generate(NAME, "x")
