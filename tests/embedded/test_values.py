"""The pure parts: options, durations, formats, headers of files, who may ask, how many threads."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit_nb.embedded.gguf import read_header
from gleitzeit_nb.embedded.guard import host_allowed, origin_allowed
from gleitzeit_nb.embedded.options import closed, duration_s, parse_format, parse_keep_alive, parse_options
from gleitzeit_nb.embedded.process import available_cpus
from gleitzeit_nb.embedded.server import default_threads
from gleitzeit_nb.embedded.upstream import Ending, _add_tool_calls, ollama_tool_calls
from gleitzeit_nb.embedded.wire import RefusalError, decode, line, timestamp
from gleitzeit_nb.errors import WeightsError


def test_ollamas_defaults_are_sent_in_full() -> None:
    sent = parse_options({}).for_child(num_ctx=100)
    assert (sent["temperature"], sent["top_k"], sent["top_p"], sent["min_p"], sent["repeat_penalty"]) == (0.8, 40, 0.9, 0.0, 1.0)
    assert sent["n_predict"] == sent["max_tokens"] == 1000
    assert "seed" not in sent


@pytest.mark.parametrize(("asked", "bound"), [(-1, 1000), (-2, 1000), (5, 5), (0, 0), (99_999, 1000)])
def test_an_answer_is_bounded_to_ten_contexts(asked: int, bound: int) -> None:
    assert parse_options({"num_predict": asked}).for_child(num_ctx=100)["n_predict"] == bound


def test_a_seed_is_sent_only_when_it_is_fixed() -> None:
    assert parse_options({"seed": 42}).for_child(8)["seed"] == 42
    assert "seed" not in parse_options({"seed": -1}).for_child(8)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"top_k": "4"}, 'option "top_k" must be of type integer'),
        ({"num_ctx": True}, 'option "num_ctx" must be of type integer'),
        ({"top_p": [1]}, 'option "top_p" must be of type float32'),
        ({"use_mmap": 1}, 'option "use_mmap" must be of type boolean'),
        ({"stop": [1]}, 'option "stop" must be of type an array of strings'),
    ],
)
def test_a_wrong_type_is_a_500_with_ollamas_text(options: dict[str, Any], text: str) -> None:
    with pytest.raises(RefusalError) as caught:
        parse_options(options)
    assert (caught.value.status, caught.value.text) == (500, text)


def test_whole_floats_count_as_integers_and_null_as_absent() -> None:
    options = parse_options({"num_ctx": 512.0, "top_k": None, "unknown": object()})
    assert options.num_ctx == 512
    assert options.sampling["top_k"] == 40


@pytest.mark.parametrize(
    ("text", "seconds"), [("5m", 300), ("1h30m", 5400), ("-1s", -1), ("250ms", 0.25), ("0", 0), ("1.5s", 1.5), (".5m", 30), ("+2µs", 2e-6)]
)
def test_go_durations(text: str, seconds: float) -> None:
    assert duration_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "m", "5 m", "5x", "1h-5m", "--1s", "5mm"])
def test_what_is_no_go_duration(text: str) -> None:
    with pytest.raises(ValueError, match="time: "):
        duration_s(text)


@pytest.mark.parametrize(
    ("value", "seconds"), [(None, None), (0, 0), (30, 30), (1.5, 1.5), (-1, math.inf), ("-1s", math.inf), ("10m", 600)]
)
def test_keep_alive(value: object, seconds: float | None) -> None:
    assert parse_keep_alive(value) == seconds


@pytest.mark.parametrize("value", [True, [], {}, "300", "x"])
def test_a_bad_keep_alive_is_a_400(value: object) -> None:
    with pytest.raises(RefusalError) as caught:
        parse_keep_alive(value)
    assert caught.value.status == 400


def test_objects_with_properties_are_closed_at_every_depth() -> None:
    inner = {"type": "object", "properties": {"type": {"type": "string"}}}
    schema = {
        "type": "object",
        "properties": {"list": {"type": "array", "items": inner}, "free": {"type": "object"}},
        "$defs": {"x": inner},
    }
    result = closed(schema)
    assert result["additionalProperties"] is False
    assert result["properties"]["list"]["items"]["additionalProperties"] is False
    assert result["$defs"]["x"]["additionalProperties"] is False
    assert result["properties"]["free"] == {"type": "object"}
    assert closed({**inner, "additionalProperties": True})["additionalProperties"] is True
    assert closed({"enum": [{"properties": {}}]}) == {"enum": [{"properties": {}}]}
    assert "additionalProperties" not in schema


@pytest.mark.parametrize(("value", "expected"), [(None, None), ("", None), ("json", {}), ({"type": "string"}, {"type": "string"})])
def test_formats(value: object, expected: object) -> None:
    assert parse_format(value) == expected


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    return schema


@pytest.mark.parametrize("value", ["yaml", 1, [], {"type": "bogus"}, {"properties": {"a": {"type": ["string", "nope"]}}}, nested(200)])
def test_a_bad_format_is_a_500(value: object) -> None:
    with pytest.raises(RefusalError, match="invalid format") as caught:
        parse_format(value)
    assert caught.value.status == 500


@given(st.binary(max_size=200))
def test_any_body_is_an_object_or_a_400(body: bytes) -> None:
    try:
        assert isinstance(decode(body), dict)
    except RefusalError as refused:
        assert refused.status == 400  # noqa: PT017  # both outcomes are right


def test_a_deeply_nested_body_is_a_400() -> None:
    with pytest.raises(RefusalError):
        decode(b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}")


@given(st.text())
def test_every_text_makes_one_line(text: str) -> None:
    made = line({"text": text})
    assert made.count(b"\n") == 1
    assert json.loads(made)["text"] == text


def test_half_of_a_character_does_not_break_a_line() -> None:
    assert json.loads(line({"text": "\ud83d"}))["text"] == "?"


def test_times_are_rfc_3339_even_far_ahead() -> None:
    assert timestamp(0) == "1970-01-01T00:00:00.000000Z"
    assert timestamp(1e20).startswith("9999-12-31T")


@pytest.mark.parametrize(
    "host",
    [
        "",
        "localhost",
        "LOCALHOST:11434",
        "127.0.0.1:80",
        "[::1]:11434",
        "10.1.2.3",
        "0.0.0.0",
        "a.local",
        "x.localhost",
        "m.internal",
        "localhost.",
    ],
)
def test_local_hosts_may_ask(host: str) -> None:
    assert host_allowed(host)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "8.8.8.8", "localhost.evil.example:11434", "[", "local"])
def test_foreign_hosts_may_not(host: str) -> None:
    assert not host_allowed(host)


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("http://localhost:8888", True),
        ("https://127.0.0.1", True),
        ("app://x", True),
        ("vscode-webview://y", True),
        ("http://server:11434", True),
        ("http://evil.example", False),
        ("https://localhost.evil.example", False),
        ("null", False),
        ("", False),
        ("http://[", False),
        ("javascript://localhost", False),
    ],
)
def test_origins(origin: str, allowed: bool) -> None:
    assert origin_allowed(origin, "server:11434") is allowed


def test_half_of_the_processors_are_used() -> None:
    assert [default_threads(cpus) for cpus in (1, 2, 3, 4, 8, 64)] == [1, 1, 1, 2, 4, 8]
    assert available_cpus() >= 1


def test_tool_calls_are_put_together_from_their_parts() -> None:
    calls: list[dict[str, Any]] = []
    _add_tool_calls(calls, [{"index": 0, "id": "a", "function": {"name": "f", "arguments": '{"x"'}}])
    _add_tool_calls(
        calls, [{"index": 0, "function": {"arguments": ": 1}"}}, {"index": 1, "id": "b", "function": {"name": "g", "arguments": "oops"}}]
    )
    assert ollama_tool_calls(calls) == [
        {"id": "a", "function": {"index": 0, "name": "f", "arguments": {"x": 1}}},
        {"id": "b", "function": {"index": 1, "name": "g", "arguments": {"arguments": "oops"}}},
    ]


def test_metrics_leave_zeros_out() -> None:
    assert Ending().metrics(total_s=0.5, load_s=0) == {"total_duration": 500_000_000}


def entry(key: str, kind: int, data: bytes) -> bytes:
    return struct.pack("<Q", len(key)) + key.encode() + struct.pack("<I", kind) + data


def gguf(entries: list[bytes], tensors: bytes = b"", count: int = 0) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, count, len(entries)) + b"".join(entries) + tensors


def test_a_header_is_read_with_every_kind_of_value(tmp_path: Path) -> None:
    text = struct.pack("<Q", 3) + b"abc"
    path = tmp_path / "m.gguf"
    tensor = struct.pack("<Q", 1) + b"w" + struct.pack("<IQQIQ", 2, 576, 100, 3, 0)
    path.write_bytes(
        gguf(
            [
                entry("general.architecture", 8, text),
                entry("abc.context_length", 4, struct.pack("<I", 77)),
                entry("abc.flag", 7, b"\x01"),
                entry("abc.big", 12, struct.pack("<d", 0.5)),
                entry("short", 9, struct.pack("<IQ", 8, 2) + text + text),
                entry("long", 9, struct.pack("<IQ", 4, 6) + bytes(24)),
                entry("nested", 9, struct.pack("<IQ", 9, 1) + struct.pack("<IQ", 0, 1) + b"\x05"),
                entry("abc.pooling_type", 4, struct.pack("<I", 1)),
            ],
            tensor,
            1,
        )
    )
    header = read_header(path)
    assert (header.architecture, header.context_length, header.parameters, header.parameter_size) == ("abc", 77, 57600, "57.60K")
    assert header.values["short"] == ["abc", "abc"]
    assert header.values["long"] == []
    assert header.values["nested"] == [[5]]
    assert header.is_embedding
    assert read_header(path, arrays=True).values["long"] == [0] * 6


@given(st.binary(max_size=400))
def test_garbage_is_never_taken_for_a_header(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "garbage.gguf"
    for content in (data, gguf([], b"", 0) + data, gguf([data]), b"GGUF" + struct.pack("<IQQ", 3, 1 << 19, 1 << 19) + data):
        path.write_bytes(content)
        try:
            read_header(path)
        except WeightsError as error:
            assert "is not a readable GGUF file" in str(error)  # noqa: PT017  # both outcomes are right
