"""The same mistake at every face (file, constructor, client, environment, %config): refused by name and place before anything runs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from traitlets import TraitError

from gleitzeit_nb import OllamaPoolManager
from gleitzeit_nb.config import Config, check_file, discovery_urls, normalise_url
from gleitzeit_nb.errors import ConfigError
from gleitzeit_nb.jupyter.settings import GleitzeitNB

Write = Callable[[str], Path]
Loaded = Callable[..., Config]
NAN = float("nan")


def one(**keys: Any) -> dict[str, Any]:
    return {"instances": [{"id": "a", "url": "http://a", **keys}]}


BAD: list[tuple[dict[str, Any], str]] = [
    ({"load_balancing": {"strategy": "leastloaded"}}, "did you mean 'least_loaded'?"),
    ({"load_balancing": {"strategy": 5}}, "should be a text"),
    ({"load_balancing": {"stratgy": "auto"}}, "did you mean 'strategy'?"),
    ({"load_balancing": {"retry_attempts": -1}}, "greater than or equal to 0, not -1"),
    ({"load_balancing": {"retry_attempts": 10**30}}, "less than or equal to 100"),
    ({"load_balancing": {"health_check_interval": -5}}, "more than 0, not -5"),
    ({"load_balancing": {"health_check_interval": NAN}}, "more than 0, not nan"),
    ({"load_balancing": {"circuit_breaker": {"failure_treshold": 1}}}, "did you mean 'failure_threshold'?"),
    ({"load_balancing": {"circuit_breaker": []}}, "should be a mapping"),
    (one(max_concurrent=-1), "max_concurrent should be greater than or equal to 1, not -1"),
    (one(max_concurrent=10**30), "max_concurrent should be less than or equal to 1000000000"),
    (one(max_concurrent=True), "should be a valid integer, not True"),
    (one(weight=NAN), "weight should be a finite number, not nan"),
    (one(weight=0), "weight should be greater than 0, not 0"),
    (one(priority=10**30), "priority should be less than or equal to 1000000"),
    (one(tags="gpu"), "tags should be a list, not 'gpu'"),
    (one(max_concurent=1), "did you mean 'max_concurrent'?"),
    (one(tls={"verfy": False}), "did you mean 'verify'?"),
    (one(headers={"Host": "x"}), "should not hold 'Host'"),
    (one(url="ftp://a"), "it must begin with http:// or https://"),
    (one(url="http://a:70000"), "its port must be a number up to 65535"),
    (one(url="http://a b"), "is not an address"),
    ({"instances": [{"id": "a", "url": "http://a"}, {"id": "a", "url": "http://b"}]}, "names 'a' twice"),
    ({"instances": [{"id": "a", "url": "http://a"}, {"id": "b", "url": "http://a:80/"}]}, "have the same address http://a"),
    ({"instances": {"a": 1}}, "instances should be a list"),
    ({"instances": ["http://a"]}, "should be a mapping"),
]
IDS = [words for _, words in BAD]


def in_yaml(data: Any) -> str:
    """Flow style, one key a line, so that a line tells which key is meant."""
    return json.dumps({"ollama": data}, indent=1).replace("NaN", ".nan")


@pytest.mark.parametrize(("data", "words"), BAD, ids=IDS)
def test_a_file_is_refused_with_its_line(loaded: Loaded, own_file: Write, data: dict[str, Any], words: str) -> None:
    path = own_file(in_yaml(data))
    with pytest.raises(ConfigError) as caught:
        loaded()
    place, _, message = str(caught.value).partition(": ")
    assert words in message
    name, _, line = place.rpartition(":")
    assert name == str(path)
    assert int(line) >= 3
    with pytest.raises(ConfigError):
        check_file(path, environ={}, home=path.parent)


@pytest.mark.parametrize(("data", "words"), BAD, ids=IDS)
def test_a_client_and_an_override_are_refused_alike(loaded: Loaded, data: dict[str, Any], words: str) -> None:
    for call in (lambda: loaded(data), lambda: loaded(overrides={"ollama": data})):
        with pytest.raises(ConfigError) as caught:
            call()
        assert words in str(caught.value)
        assert str(caught.value).startswith(("ollama_config: ", "overrides: "))


@pytest.mark.parametrize(("data", "words"), BAD, ids=IDS)
def test_the_constructor_refuses_before_it_connects(data: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        OllamaPoolManager(**data)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("GLEITZEIT_OLLAMA_STRATEGY", "leastloaded", "did you mean 'least_loaded'?"),
        ("GLEITZEIT_OLLAMA_FAILOVER", "maybe", "true or false"),
        ("GLEITZEIT_OLLAMA_HEALTH_CHECK_INTERVAL", "-1", "more than 0"),
        ("GLEITZEIT_OLLAMA_HEALTH_CHECK_INTERVAL", "nan", "more than 0"),
        ("GLEITZEIT_OLLAMA_INSTANCES", "http://a", "each entry is id:url"),
        ("GLEITZEIT_OLLAMA_INSTANCES", "a:http://a,a:http://b", "names 'a' twice"),
        ("GLEITZEIT_OLLAMA_INSTANCES", "a:ftp://a", "must begin with http://"),
        ("GLEITZEIT_OLLAMA_INSTANCES", "a b:http://a", "should be a name"),
        ("GLEITZEIT_OLLAMA_API_KEY", "line\nbreak", "line break"),
        ("GLEITZEIT_OLLAMA_PROXY", "socks5://a", "plain HTTP"),
        ("OLLAMA_HOST", "http://a b", "is not an address"),
        ("OLLAMA_HOST", "ann:hunter2@a:99999", "'***@a:99999' is not an address"),
        ("OLLAMA_BASE_URL", "ws://a", "must begin with http://"),
        ("GLEITZEIT_CONFIG", "/absent.yaml", "does not exist"),
    ],
)
def test_a_variable_is_refused_by_its_name(loaded: Loaded, variable: str, value: str, words: str) -> None:
    listed = {"GLEITZEIT_OLLAMA_INSTANCES": "a:http://a"} if variable == "GLEITZEIT_OLLAMA_API_KEY" else {}
    with pytest.raises(ConfigError) as caught:
        loaded(env={**listed, variable: value})
    assert variable in str(caught.value).split(" ")[0]
    assert words in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_config_refuses_an_unknown_strategy_where_it_is_set() -> None:
    settings = GleitzeitNB()
    with pytest.raises(TraitError, match=r"GleitzeitNB\.strategy: there is no load balancing strategy 'leastloaded'.*'least_loaded'"):
        settings.strategy = "leastloaded"
    with pytest.raises(TraitError, match="on one line"):
        settings.model = "a\nb"
    settings.strategy, settings.model = "round_robin", " phi "
    assert (settings.strategy, settings.model) == ("round_robin", "phi")
    settings.strategy = ""


def test_a_file_that_nobody_can_finish_reading_is_refused_at_once(loaded: Loaded, own_file: Write, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero")):
        with pytest.raises(ConfigError, match="it is a pipe or a device"):
            loaded(env={"GLEITZEIT_CONFIG": str(path)})
    own_file("ollama: {instances: [{id: a, url: 'https://a', tls: {ca_file: " + str(pipe) + "}}]}")
    with pytest.raises(ConfigError, match=r"tls\.ca_file of instance 'a': .* it is a pipe or a device"):
        loaded()


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:1234", "http://127.0.0.1:1234"),
        (":1234", "http://127.0.0.1:1234"),
        ("::", "http://[::1]:11434"),
        ("[::]:99", "http://[::1]:99"),
        ("http://[::]", "http://[::1]"),
        ("gpu", "http://gpu:11434"),
        ("http://gpu", "http://gpu"),
        ("https://gpu", "https://gpu"),
        ("HTTPS://GPU/ollama/", "https://gpu/ollama"),
        ("ollama.com", "https://ollama.com"),
        ("'gpu:1'", "http://gpu:1"),
        ("http://bücher.example", "http://xn--bcher-kva.example"),
        ("my_host:1", "http://my_host:1"),
        ("gpu.", "http://gpu.:11434"),
        ("http://me:secret@gpu", "http://gpu"),
    ],
)
def test_an_address_is_read_as_ollama_reads_it(text: str, url: str) -> None:
    assert normalise_url(text) == url
    assert discovery_urls({"OLLAMA_HOST": text}) == discovery_urls({"OLLAMA_BASE_URL": text}) == (url,)


@pytest.mark.parametrize(
    "text",
    [
        *("http:/a", "https:a", "http://", "http://a..b", "http://a-.b", "http://-a", f"http://{'a' * 64}", f"http://{'a.' * 130}b"),
        *("http://1", "http://1.2.3", "http://999.1.1.1", "http://0x7f.1", "http://0x7f000001", "http://a:80:80", "http://a:+80"),
        *("http://a:８０", "http://a/../b", "http://a/%2e%2e/b", "http://a/api", "http://a/v1/", "http://a?b", "http://a#b"),
        *("http://a%00", "http://a\\b", "http://[::1", "http://::1", "//a", "unix:///a", "file:///a", "javascript:alert(1)"),
        *("http://a\tb", "http://xn--"),
    ],
)
def test_what_is_no_address_is_a_config_error(text: str) -> None:
    with pytest.raises(ConfigError, match="address"):
        normalise_url(text)
