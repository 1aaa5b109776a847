"""Bad input: each mistake is told with its file and line, what is expected, and the nearest valid key."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gleitzeit_nb.config import Config, instance_settings, load, pool_settings, sandbox_settings
from gleitzeit_nb.core.access import Secret
from gleitzeit_nb.errors import ConfigError, MissingDependencyError

Write = Callable[[str], Path]
Loaded = Callable[..., Config]


def refusal(loaded: Loaded, **more: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(**more)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("olama: {}", 1, ["unknown key 'olama'", "did you mean 'ollama'?"]),
        ("ollama:\n  instances:\n  - id: a\n    url: a\n    max_concurent: 3", 5, ["'max_concurent'", "'max_concurrent'", "instances[0]"]),
        ("ollama:\n  load_balancing:\n    stratgy: x", 3, ["'strategy'", "ollama.load_balancing"]),
        ("ollama:\n  load_balancing:\n    circuit_breaker:\n      zzz: 1", 4, ["known here: failure_threshold, recovery_timeout"]),
        ("providers:\n  python:\n    modes:\n      box:\n        image: x\n        memry: 1g", 6, ["'memry'", "'memory'", "modes.box"]),
        ("python:\n  execution_modes:\n  - id: box\n    imag: x", 4, ["'image'"]),
        ("ollama:\n  load_balancing:\n    strategy: fastest", 3, ["should be one of auto, least_loaded, round_robin", "'fastest'"]),
        ("ollama:\n  load_balancing:\n    strategy: wieghted", 3, ["did you mean 'weighted'?"]),
        ("ollama:\n  load_balancing:\n    retry_attempts: three", 3, ["should be a valid integer, not 'three'"]),
        ("ollama:\n  load_balancing:\n    retry_attempts: -1", 3, ["greater than or equal to 0"]),
        ("ollama:\n  load_balancing:\n    retry_attempts: true", 3, ["should be a valid integer, not True"]),
        ("ollama:\n  load_balancing:\n    failover: 1", 3, ["should be a valid boolean, not 1"]),
        ("ollama:\n  load_balancing:\n    health_check_interval: often", 3, ["a number of seconds", "'often'"]),
        ("ollama:\n  load_balancing:\n    health_check_interval: 0", 3, ["more than 0"]),
        ("ollama:\n  cache:\n    max_size: lots", 3, ["a size such as 512m"]),
        ("ollama:\n  replay: [a]", 2, ["should be the path of a file"]),
        ("ollama:\n  replay: /nowhere/run.jsonl", 2, ["no recording '/nowhere/run.jsonl'", "GLEITZEIT_RECORD=/nowhere/run.jsonl"]),
        ("ollama:\n  aliases:\n    fast: []", 2, ["ollama.aliases", "'fast' a model, a list of models"]),
        ("ollama:\n  load_balancing: []", 2, ["should be a mapping", "a list"]),
        ("ollama:\n  instances: local", 2, ["should be a list, not 'local'"]),
        ("ollama:\n  instances:\n  - local", 3, ["should be a mapping"]),
        ("ollama:\n  instances:\n  - id: a", 3, ["needs the key 'url'"]),
        ("ollama:\n  instances:\n  - url: a", 3, ["needs the key 'id'"]),
        ("ollama:\n  instances:\n  - id: a b\n    url: a", 3, ["letters, digits"]),
        ("ollama:\n  instances:\n  - {id: a, url: a}\n  - {id: a, url: b}", 2, ["names 'a' twice"]),
        ("ollama:\n  instances:\n  - {id: a, url: a}\n  - {id: b, url: 'http://a:11434/'}", 4, ["the same address"]),
        ("ollama:\n  instances:\n  - id: a\n    url: ftp://a", 4, ["url of instance 'a'", "http://"]),
        ("ollama:\n  instances:\n  - id: a\n    url: a\n    weight: 0", 5, ["greater than 0"]),
        ("ollama:\n  instances:\n  - id: a\n    url: a\n    weight: .nan", 5, ["finite"]),
        ("ollama:\n  instances:\n  - id: a\n    url: a\n    tags: gpu", 5, ["should be a list, not 'gpu'"]),
        ("ollama:\n  instances:\n  - id: a\n    url: a\n    tags: [1]", 5, ["should be a text"]),
        ("ollama:\n  instances:\n  - id: a\n    url: a\n    tags: [a]\n    instance_tags: [b]", 6, ["means the same as 'tags'"]),
        ("python:\n  default_mode: docker", 2, ["'docker', which is no mode", "docker-sandbox"]),
        ("python:\n  default_mode: local", 2, ["switched off"]),
        ("python:\n  modes:\n    box: {}", 3, ["needs a type"]),
        ("python:\n  modes:\n    auto: {image: x}", 3, ["not a mode but the choice"]),
        ("python:\n  modes:\n    docker-sandbox:\n      type: native", 3, ["always of the kind docker"]),
        ("python:\n  modes:\n    restricted:\n      image: x", 3, ["nothing of the kind restricted"]),
        ("python:\n  modes:\n    docker-sandbox:\n      allow_weaker: true", 3, ["only a restricted mode"]),
        ("python:\n  modes:\n    docker-sandbox:\n      memory_limit: lots", 4, ["512m"]),
        ("python:\n  modes:\n    docker-sandbox:\n      memory_limit: 1m", 4, ["at least 16m"]),
        ("python:\n  modes:\n    docker-sandbox:\n      network: bridge", 4, ["never given a whole network", "'bridge'"]),
        ("python:\n  modes:\n    docker-sandbox:\n      allow: [https://example.org]", 4, ["should be a host"]),
        ("python:\n  modes:\n    docker-sandbox:\n      allow: ['*.org']", 4, ["two names behind it"]),
        ("python:\n  modes:\n    docker-sandbox:\n      allow_private: [10.0.0.1/8]", 4, ["host bits set"]),
        ("python:\n  modes:\n    docker-sandbox:\n      network_limits: {max_connections: 65}", 4, ["less than or equal to 64"]),
        ("python:\n  modes:\n    local:\n      network: restricted", 3, ["nothing holds code"]),
        ("python:\n  modes:\n    docker-sandbox:\n      gpu: yes please", 4, ["should be a valid boolean"]),
        ("python:\n  modes:\n    restricted:\n      gpu: true", 3, ["sets gpu, which only containers have"]),
        ("python:\n  modes:\n    restricted:\n      runtime: runsc", 3, ["sets runtime, which only containers have"]),
        ("python:\n  modes:\n    docker-sandbox:\n      volumes: ./data", 4, ["host:guest:rw"]),
        ("python:\n  modes:\n    docker-sandbox:\n      volumes:\n      - ./data:/data:rx", 4, ["'rx' is neither"]),
        ("python:\n  modes:\n    docker-sandbox:\n      volumes:\n      - ./data:/etc/data", 3, ["/etc belongs to the system inside"]),
        ("python:\n  modes:\n    docker-sandbox:\n      volumes:\n      - ./data:data", 3, ["absolute path such as /data"]),
        ("python:\n  modes:\n    docker-sandbox:\n      volumes: [a:/data, b:/data/b]", 3, ["/data and /data/b are the same place"]),
        ("python:\n  modes:\n    docker-sandbox:\n      volumes: [a:/data:rw, a/b:/b]", 3, ["/a, which is writable"]),
        ("python:\n  volume_roots: /data", 2, ["should be a list of folders"]),
        ("python:\n  volume_roots: [/]", 2, ["/ is everything"]),
        ("python:\n  modes:\n    docker-sandbox:\n      read_only_root: false", 4, ["always read-only"]),
        ("python:\n  modes:\n    docker-sandbox:\n      environment: {A: 1}", 4, ["should be a text (in quotes)"]),
        ("python:\n  modes:\n    docker-sandbox:\n      environment: {A=B: x}", 4, ["without '='"]),
        ("python:\n  docker_host: tcp://x", 2, ["this version has no 'docker_host'", "DOCKER_HOST"]),
        ("python:\n  container_pool:\n    min_warm: 20", 2, ["more than max_containers (10)"]),
        ("python:\n  modes:\n    a: {image: x}\n  execution_modes:\n  - {id: a, image: y}", 1, ["names 'a' twice"]),
        ("providers: {python: {}}\npython: {}", 1, ["'python' once"]),
        ("providers:\n  mcp: {}", 2, ["this version has no 'mcp'", "ollama and python"]),
        ("workflow: x", 1, ["this version has no 'workflow'"]),
        ("stream: maybe", 1, ["should be a valid boolean"]),
        ("1: x", 1, ["every key must be a text"]),
        ("ollama: {}\nollama: {}", 2, ["second time"]),
        ("ollama:\n\tinstances: []", 2, ["cannot be read as YAML"]),
        ("ollama: [", 1, ["cannot be read as YAML"]),
        ("ollama: *nobody", 1, ["undefined alias"]),
        ("ollama: !!python/object/apply:os.system ['true']", 1, ["should be a mapping"]),
        ("a: 2001-99-99", 1, ["cannot be read; put it in quotes"]),
        ("- just\n- a list", 1, ["should be a mapping with the keys"]),
        ("--- {}\n--- {}", 2, ["cannot be read as YAML"]),
    ],
)
def test_a_mistake_is_told_with_file_line_and_what_to_write(
    loaded: Loaded, own_file: Write, text: str, line: int, words: list[str]
) -> None:
    path = own_file(text)
    message = refusal(loaded)
    assert message.startswith(f"{path}:{line}: "), message
    for word in words:
        assert word in message


def test_several_mistakes_are_told_at_once(loaded: Loaded, own_file: Write) -> None:
    own_file("ollama:\n  instance: []\npython:\n  default_mod: auto\n")
    assert [line.split(": ")[0].rpartition(":")[2] for line in refusal(loaded).splitlines()] == ["2", "4"]


def test_a_very_wrong_file_does_not_flood(loaded: Loaded, own_file: Write) -> None:
    own_file("\n".join(f"key{index}: 1" for index in range(50)))
    message = refusal(loaded)
    assert len(message.splitlines()) == 7
    assert message.endswith("(and 44 more)")


@pytest.mark.parametrize("text", ["", "# nothing\n", "ollama:\npython:\n", "ollama:\n  load_balancing:\n", "{}", "\ufeffollama: {}"])
def test_an_empty_file_or_section_means_nothing(loaded: Loaded, own_file: Write, text: str) -> None:
    own_file(text)
    assert loaded().pool == load(environ={}, home=Path("/nowhere")).pool


def test_json_is_yaml(loaded: Loaded, own_file: Write) -> None:
    own_file('{"ollama": {"default_model": "phi"}}')
    assert loaded().pool.default_model == "phi"


def test_anchors_and_merge_keys_work(loaded: Loaded, own_file: Write) -> None:
    own_file("python:\n  modes:\n    docker-a: &a {image: x, timeout: 5}\n    docker-b: {<<: *a, timeout: 6}\n")
    modes = loaded().sandbox.modes
    assert [(modes[name].image, modes[name].limits.timeout_s) for name in ("docker-a", "docker-b")] == [("x", 5.0), ("x", 6.0)]


def test_an_alias_bomb_is_refused_at_once(loaded: Loaded, own_file: Write) -> None:
    own_file("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(f"a{n + 1}: &a{n + 1} [{','.join([f'*a{n}'] * 10)}]\n" for n in range(12)))
    assert "too large or too deep" in refusal(loaded)


def test_a_file_within_itself_is_refused(loaded: Loaded, own_file: Write) -> None:
    own_file("ollama: &a\n  x: *a\n")
    assert "too large or too deep" in refusal(loaded)


def test_deep_nesting_is_refused(loaded: Loaded, own_file: Write) -> None:
    own_file("a: " + "[" * 5000 + "]" * 5000)
    assert "too deep" in refusal(loaded)


def test_what_is_no_text_file_is_refused(loaded: Loaded, own_file: Write) -> None:
    path = own_file("")
    path.write_bytes(b"\xff\xfe\x00")
    assert "not a UTF-8 text" in refusal(loaded)
    path.write_bytes(b"#" * (1 << 21))
    assert "larger than 1 MiB" in refusal(loaded)
    path.unlink()
    path.mkdir()
    assert "cannot be read" in refusal(loaded)


def test_a_used_file_must_exist(loaded: Loaded, tmp_path: Path) -> None:
    assert "cannot be read" in refusal(loaded, use_file=tmp_path / "absent.yaml")


@pytest.mark.parametrize(
    "text",
    [
        "ollama:\n  instances:\n  - {id: a, url: a, api_key: [hunter2]}",
        "ollama:\n  instances:\n  - {id: a, url: 'ftp://me:hunter2@a'}",
        "ollama:\n  instances:\n  - {id: a, url: [hunter2], api_key: hunter2, zzz: 1}",
        "ollama:\n  instances:\n  - {id: a, url: a, api_key: 'hunter2",
        "ollama:\n  instances:\n  - {id: a, url: 'http://me:hunter2@a', api_key: 'env:X'}",
        "ollama: 'http://me:hunter2@a'",
        "python:\n  modes: {docker-sandbox: {environment: {T: [hunter2]}}}",
    ],
)
def test_no_message_shows_a_key(loaded: Loaded, own_file: Write, text: str) -> None:
    own_file(text)
    with pytest.raises(ConfigError) as caught:
        loaded()
    seen: list[BaseException] = [caught.value]
    while seen[-1].__cause__ is not None:
        seen.append(seen[-1].__cause__)
    assert all("hunter2" not in f"{error}{error!r}" for error in seen)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: instance_settings({"url": "a"}), "needs the key 'id'"),
        (lambda: instance_settings({"id": "a", "url": "a", "tag": []}, origin="add_instance"), "did you mean 'tags'?"),
        (lambda: instance_settings({"id": "a", "url": 3}), "should be a text"),
        (lambda: instance_settings([]), "should be a mapping"),
        (lambda: pool_settings("a"), "should be a list"),
        (lambda: pool_settings([{"id": "a", "url": "a"}, {"id": "a", "url": "b"}]), "twice"),
        (lambda: pool_settings([], None, "soon"), "a number of seconds"),
        (lambda: pool_settings([], {"strategy": "latency-base"}), "did you mean 'latency_based'?"),
        (lambda: sandbox_settings({"modes": {"docker-sandbox": {"timeout": -1}}}), "a number of seconds"),
        (lambda: sandbox_settings({"modes": {"docker-sandbox": {1: 2}}}), "every key must be a text"),
        (lambda: load({"instances": None}, environ={}), "should be a list"),
        (lambda: load("x", environ={}), "should be a mapping"),
        (lambda: load(None, ["x"], environ={}), "should be a mapping"),
        (lambda: load(overrides={"ollama": {"modle": "x"}}, environ={}), "did you mean 'model'?"),
    ],
)
def test_dictionaries_are_checked_as_files_are(call: Callable[[], Any], word: str) -> None:
    with pytest.raises(ConfigError) as caught:
        call()
    assert word in str(caught.value)


def test_any_kind_of_mapping_is_taken() -> None:
    assert sandbox_settings(MappingProxyType({"modes": MappingProxyType({"docker-a": None})})).modes["docker-a"].kind == "docker"


def test_a_dictionary_within_itself_is_refused() -> None:
    loop: dict[str, Any] = {}
    loop["ollama"] = loop
    with pytest.raises(ConfigError, match="within itself"):
        load(loop, environ={})


def test_without_the_keyring_package_the_message_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(MissingDependencyError, match=r"gleitzeit-nb\[keyring\]"):
        instance_settings({"id": "a", "url": "a", "api_key": "keyring:gpu"})


class FakeKeyring(ModuleType):
    """The three names of the keyring package that are used, over a dictionary."""

    def __init__(self, entries: dict[tuple[str, str], str] | None) -> None:
        super().__init__("keyring")
        self.entries = entries
        self.errors = ModuleType("keyring.errors")
        self.errors.KeyringError = type("KeyringError", (Exception,), {})  # type: ignore[attr-defined]

    def get_password(self, service: str, entry: str) -> str | None:
        if self.entries is None:
            raise self.errors.KeyringError("locked")
        return self.entries.get((service, entry))


def with_keyring(monkeypatch: pytest.MonkeyPatch, entries: dict[tuple[str, str], str] | None) -> None:
    fake = FakeKeyring(entries)
    monkeypatch.setitem(sys.modules, "keyring", fake)
    monkeypatch.setitem(sys.modules, "keyring.errors", fake.errors)


def test_a_key_of_the_keyring_is_read_under_our_service(monkeypatch: pytest.MonkeyPatch) -> None:
    with_keyring(monkeypatch, {("gleitzeit", "gpu"): "hunter2"})
    assert instance_settings({"id": "a", "url": "a", "api_key": "keyring:gpu"}).api_key == Secret("hunter2")
    with pytest.raises(ConfigError, match="keyring set gleitzeit other"):
        instance_settings({"id": "a", "url": "a", "api_key": "keyring:other"})


def test_a_locked_keyring_is_an_error_of_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    with_keyring(monkeypatch, None)
    with pytest.raises(ConfigError, match="Unlock it"):
        instance_settings({"id": "a", "url": "a", "api_key": "keyring:gpu"})


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(
                st.sampled_from(["ollama", "python", "providers", "instances", "modes", "id", "url", "type", "timeout", "x"]),
                inner,
                max_size=4,
            ),
        ),
        max_leaves=12,
    )
)
def test_any_data_is_a_configuration_or_a_config_error(loaded: Loaded, data: Any) -> None:
    try:
        config = loaded(data, data, overrides={"ollama": data})
    except ConfigError:
        return
    assert config.describe()
