"""Sizes, durations and addresses as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit_nb.config import normalise_url, parse_duration, parse_size
from gleitzeit_nb.config.values import parse_address
from gleitzeit_nb.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512m", 512 << 20),
        ("512M", 512 << 20),
        ("1.5g", 3 << 29),
        ("64MiB", 64 << 20),
        ("64 mb", 64 << 20),
        ("2k", 2048),
        ("1t", 1 << 40),
        ("1000", 1000),
        ("10b", 10),
        (4096, 4096),
    ],
)
def test_a_size_is_read_in_binary_units(text: object, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "m", "-5m", "5x", "1e3", "0", 0, -1, True, 1.5, None, [], "9" * 40, "5m5m", "ⅷm"])
def test_what_is_no_size_is_refused_with_an_example(text: object) -> None:
    with pytest.raises(ConfigError, match="512m"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (30, 30.0),
        (0.5, 0.5),
        ("30", 30.0),
        ("30s", 30.0),
        ("500ms", 0.5),
        ("1m30s", 90.0),
        ("2h", 7200.0),
        (" 5 m ", 300.0),
        ("1H", 3600.0),
    ],
)
def test_a_duration_is_read_in_seconds(text: object, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "s", "-1", "0", 0, -1, True, None, "soon", "1m x", "1d", float("inf"), float("nan"), 10**400, "9" * 40]
)
def test_what_is_no_duration_is_refused_with_an_example(text: object) -> None:
    with pytest.raises(ConfigError, match="1m30s"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("localhost", "http://localhost:11434"),
        ("localhost:11435", "http://localhost:11435"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:11500", "http://127.0.0.1:11500"),
        ("http://0.0.0.0:11500", "http://127.0.0.1:11500"),
        (":11435", "http://127.0.0.1:11435"),
        ("http://gpu", "http://gpu"),
        ("http://gpu:80", "http://gpu"),
        ("https://gpu", "https://gpu"),
        ("https://gpu:443/", "https://gpu"),
        ("https://gpu:11434/ollama/", "https://gpu:11434/ollama"),
        ("HTTP://GPU.Example.com:11434", "http://gpu.example.com:11434"),
        ("ollama.com", "https://ollama.com"),
        ("::1", "http://[::1]:11434"),
        ("::", "http://[::1]:11434"),
        ("[::]:11435", "http://[::1]:11435"),
        ("http://[fe80::1]:11434", "http://[fe80::1]:11434"),
        ("ollama_1:11434", "http://ollama_1:11434"),
        ("host.docker.internal:11434", "http://host.docker.internal:11434"),
        ("http://bücher.example:11434", "http://xn--bcher-kva.example:11434"),
        ('  "gpu:11434"  ', "http://gpu:11434"),
        ("http://user:pw@gpu:11434", "http://gpu:11434"),
    ],
)
def test_an_address_is_normalised_as_ollama_does(text: str, url: str) -> None:
    assert normalise_url(text) == url
    assert normalise_url(url) == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "ftp://gpu",
        "gpu:port",
        "gpu:99999",
        "gpu:0",
        "http://[::1",
        "http://",
        "http://gpu/?x=1",
        "http://gpu/#x",
        "http://gpu:11434/api",
        "http://gpu:11434/v1/",
        "two words",
        "gpu\nHost: evil",
        "http://-gpu",
        "11434",
        "http://g%70u",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is not"):
        normalise_url(text)


def test_user_info_becomes_a_secret_and_leaves_the_url() -> None:
    address = parse_address("https://me:p%40ss@gpu")
    assert address.url == "https://gpu"
    assert address.user_info is not None
    assert address.user_info.reveal() == "me:p@ss"
    assert "p@ss" not in repr(address)


@pytest.mark.parametrize("text", ["http://me:hunter2@gpu:nope", "http://me:hun/ter2@gpu", "ftp://me:hunter2@gpu", "me:hunter2@gpu:0"])
def test_no_message_about_an_address_shows_its_password(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_address(text)
    shown = f"{caught.value}{caught.value.__cause__}"
    assert "hunter2" not in shown
    assert "hun/ter2" not in shown
    assert "'hun'" not in shown


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_a_config_error(text: str) -> None:
    try:
        url = normalise_url(text)
    except ConfigError:
        return
    assert url.startswith(("http://", "https://"))
    assert normalise_url(url) == url


@given(st.one_of(st.text(max_size=40), st.integers(), st.floats(), st.none(), st.booleans()))
def test_any_value_is_a_size_and_a_duration_or_a_config_error(value: object) -> None:
    for parse in (parse_size, parse_duration):
        try:
            number = parse(value)
        except ConfigError:
            continue
        assert number > 0
