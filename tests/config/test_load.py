"""Both forms of the seeds' configuration, every layer over the one below it, and the values that come out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gleitzeit_nb.config import Config, ConfigWarning, instance_settings, pool_settings, sandbox_settings
from gleitzeit_nb.config.environment import cache_directory, config_directory, misspelt, state_directory
from gleitzeit_nb.core.access import Secret
from gleitzeit_nb.core.execution import Limits, SandboxSettings
from gleitzeit_nb.core.remembering import CacheSettings
from gleitzeit_nb.core.settings import PoolSettings
from gleitzeit_nb.errors import ConfigError

Write = Callable[[str], Path]
Loaded = Callable[..., Config]

LONG_FORM = """
providers:
  ollama:
    type: ollama_pool
    instances:
      - id: "ollama-1"
        url: "http://localhost:11434"
        models: ["llama3.2", "codellama"]
        max_concurrent: 3
        tags: ["local", "cpu"]
        priority: 1
        weight: 2.0
      - id: "ollama-2"
        url: "gpu-server"
        max_concurrent: 2
        instance_tags: [gpu]
        specialization: "vision"
    load_balancing:
      strategy: "least_loaded"
      health_check_interval: 30
      failover: true
      retry_attempts: 2
      circuit_breaker:
        failure_threshold: 5
        recovery_timeout: 60
        half_open_requests: 3
  python:
    execution_modes:
      - id: "local"
        type: "native"
        trusted: true
        allowed_modules: ["pandas", "numpy"]
      - id: "docker-sandbox"
        type: "container"
        image: "python:3.11-slim"
        memory_limit: "256m"
        cpu_limit: 1.0
        timeout: 30
        network: "none"
        read_only_root: true
      - id: "docker-datascience"
        type: "container"
        image: "gleitzeit/datascience:latest"
        memory: "2g"
        cpu: 2
        gpu: false
        volumes: []
"""

SHORT_FORM = """
ollama:
  default_model: llama3.2
python:
  default_mode: docker-sandbox
  modes:
    local:
      enabled: false
    docker-sandbox:
      image: "python:3.11-slim"
      memory_limit: "512m"
      cpu_limit: 1.0
      network: "none"
      timeout: 60
    strict:
      type: restricted
      allow_weaker: true
      timeout: 5s
  container_pool:
    max_containers: 4
    idle_timeout: 5m
    reuse_containers: false
stream: false
"""


def test_without_anything_the_settings_are_cores_defaults(loaded: Loaded) -> None:
    config = loaded()
    assert config.pool == PoolSettings()
    assert config.sandbox == SandboxSettings()
    assert config.sources == ("defaults",)
    assert (config.explicit_instances, config.stream) == (False, True)
    assert config.discovery_urls == ("http://127.0.0.1:11434",)


def test_the_long_form_reaches_every_setting(loaded: Loaded, own_file: Write) -> None:
    own_file(LONG_FORM)
    config = loaded()
    one, two = config.pool.instances
    assert (one.id, one.url, one.models, one.max_concurrent) == ("ollama-1", "http://localhost:11434", ("llama3.2", "codellama"), 3)
    assert (one.tags, one.priority, one.weight) == (("local", "cpu"), 1, 2.0)
    assert (two.url, two.tags, two.specialization) == ("http://gpu-server:11434", ("gpu",), "vision")
    assert config.pool.balancing.retry_attempts == 2
    assert config.pool.breaker.failure_threshold == 5
    assert config.pool.breaker.recovery_timeout_s == 60.0
    assert config.pool.breaker.half_open_requests == 3
    modes = config.sandbox.modes
    assert (modes["local"].kind, modes["local"].enabled, modes["local"].allowed_modules) == ("local", True, ("pandas", "numpy"))
    assert modes["docker-sandbox"].image == "python:3.11-slim"
    assert modes["docker-sandbox"].limits == Limits(timeout_s=30.0, memory_bytes=256 << 20)
    assert modes["docker-sandbox"].label == "Sandbox"
    assert modes["docker-datascience"].kind == "docker"
    assert modes["docker-datascience"].limits == Limits(memory_bytes=2 << 30, cpus=2.0)
    assert modes["restricted"].enabled
    assert config.explicit_instances
    assert config.discovery_urls == ()


def test_the_short_form_reaches_every_setting(loaded: Loaded, own_file: Write) -> None:
    own_file(SHORT_FORM)
    config = loaded()
    assert config.pool.default_model == "llama3.2"
    assert config.sandbox.default_mode == "docker-sandbox"
    assert not config.sandbox.modes["local"].enabled
    assert (config.sandbox.modes["strict"].kind, config.sandbox.modes["strict"].allow_weaker) == ("restricted", True)
    assert config.sandbox.modes["strict"].limits.timeout_s == 5.0
    pool = config.sandbox.container_pool
    assert (pool.max_containers, pool.idle_timeout_s, pool.reuse_containers, pool.min_warm) == (4, 300.0, False, 1)
    assert config.stream is False


def test_the_seeds_dictionaries_are_taken_as_they_are(loaded: Loaded) -> None:
    config = loaded(
        {
            "instances": [
                {"id": "local", "url": "http://localhost:11434", "priority": 1, "models": ["llama3.2"], "max_concurrent": 5},
                {"id": "gpu-server", "url": "http://gpu.example.com:11434", "priority": 2, "tags": ("gpu", "high-memory")},
            ],
            "load_balancing": {"strategy": "round_robin", "failover": False, "circuit_breaker": {"failure_threshold": 5}},
        },
        {"default_mode": "docker-sandbox", "modes": {"docker-sandbox": {"memory_limit": "128m"}}},
    )
    assert [instance.id for instance in config.pool.instances] == ["local", "gpu-server"]
    assert config.pool.instances[1].tags == ("gpu", "high-memory")
    assert (config.pool.balancing.strategy, config.pool.balancing.failover) == ("round_robin", False)
    assert config.sandbox.modes["docker-sandbox"].limits.memory_bytes == 128 << 20
    assert config.sources == ("defaults", "ollama_config", "python_config")


def test_each_layer_beats_the_one_below(loaded: Loaded, own_file: Write, a_file: Write, tmp_path: Path) -> None:
    own = own_file("ollama: {default_model: own, queue: {max_queue: 1}, timeouts: {connect: 1}, load_balancing: {retry_attempts: 1}}")
    named = tmp_path / "named.yaml"
    named.write_text("ollama: {default_model: named, timeouts: {connect: 2}, queue: {queue_timeout: 9}}")
    used = a_file("ollama: {default_model: used, timeouts: {between_tokens: 7}, instances: [{id: its, url: 'http://its'}]}")
    env = {"GLEITZEIT_CONFIG": str(named)}
    assert loaded().pool.default_model == "own"
    assert loaded(env=env).pool.default_model == "named"
    assert loaded(env=env, use_file=used).pool.default_model == "used"
    env["GLEITZEIT_MODEL"] = "variable"
    assert loaded(env=env, use_file=used).pool.default_model == "variable"
    overrides = {"ollama": {"default_model": "override"}}
    assert loaded(env=env, use_file=used, overrides=overrides).pool.default_model == "override"
    config = loaded({"model": "dictionary"}, env=env, use_file=used, overrides=overrides)
    assert config.pool.default_model == "dictionary"
    assert (config.pool.admission.max_queue, config.pool.admission.queue_timeout_s) == (1, 9.0)
    assert (config.pool.timeouts.connect_s, config.pool.timeouts.between_tokens_s) == (2.0, 7.0)
    assert config.pool.balancing.retry_attempts == 1
    assert config.sources == (
        "defaults",
        str(own),
        f"{named} (GLEITZEIT_CONFIG)",
        f"{used} (used; not trusted)",
        "environment: GLEITZEIT_MODEL",
        "overrides",
        "ollama_config",
    )


def test_every_variable_of_the_seeds_is_read(loaded: Loaded) -> None:
    config = loaded(
        env={
            "GLEITZEIT_OLLAMA_INSTANCES": "local:http://localhost:11434, gpu:http://gpu:11434,",
            "GLEITZEIT_OLLAMA_STRATEGY": "round_robin",
            "GLEITZEIT_OLLAMA_FAILOVER": "No",
            "GLEITZEIT_OLLAMA_HEALTH_CHECK_INTERVAL": "45",
            "GLEITZEIT_PYTHON_MODE": "docker-sandbox",
            "GLEITZEIT_DOCKER_IMAGE": "python:3.11-slim",
            "GLEITZEIT_DOCKER_MEMORY": "300m",
            "GLEITZEIT_DOCKER_NETWORK": "none",
            "GLEITZEIT_MODEL": "phi",
            "GLEITZEIT_NB_STREAM": "0",
            "OLLAMA_HOST": "not asked: instances are listed",
        }
    )
    assert [(instance.id, instance.url) for instance in config.pool.instances] == [
        ("local", "http://localhost:11434"),
        ("gpu", "http://gpu:11434"),
    ]
    balancing = config.pool.balancing
    assert (balancing.strategy, balancing.failover, balancing.health_check_interval_s) == ("round_robin", False, 45.0)
    mode = config.sandbox.modes["docker-sandbox"]
    assert (config.sandbox.default_mode, mode.image, mode.limits.memory_bytes) == ("docker-sandbox", "python:3.11-slim", 300 << 20)
    assert (config.pool.default_model, config.stream) == ("phi", False)


def test_an_empty_variable_says_nothing(loaded: Loaded) -> None:
    assert loaded(env={"GLEITZEIT_OLLAMA_INSTANCES": " ", "GLEITZEIT_NB_STREAM": "", "GLEITZEIT_CONFIG": ""}) == loaded()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("GLEITZEIT_OLLAMA_INSTANCES", "http://gpu:11434", "local:http://localhost:11434"),
        ("GLEITZEIT_OLLAMA_INSTANCES", "gpu", "id:url"),
        ("GLEITZEIT_OLLAMA_INSTANCES", "gpu:ftp://x", "must begin with http"),
        ("GLEITZEIT_OLLAMA_INSTANCES", "a:x,a:y", "twice"),
        ("GLEITZEIT_OLLAMA_STRATEGY", "fastest", "least_loaded, round_robin"),
        ("GLEITZEIT_OLLAMA_STRATEGY", "model_afinity", "did you mean 'model_affinity'?"),
        ("GLEITZEIT_OLLAMA_FAILOVER", "maybe", "true or false"),
        ("GLEITZEIT_OLLAMA_HEALTH_CHECK_INTERVAL", "often", "a number of seconds"),
        ("GLEITZEIT_PYTHON_MODE", "docker", "is no mode"),
        ("GLEITZEIT_PYTHON_MODE", "local", "switched off"),
        ("GLEITZEIT_DOCKER_MEMORY", "lots", "512m"),
        ("GLEITZEIT_DOCKER_MEMORY", "1m", "at least 16m"),
        ("GLEITZEIT_DOCKER_NETWORK", "bridge", "never given a whole network"),
        ("GLEITZEIT_NB_STREAM", "2", "true or false"),
        ("GLEITZEIT_CONFIG", "/nowhere/at/all.yaml", "does not exist"),
        ("OLLAMA_HOST", "ftp://x", "must begin with http"),
    ],
)
def test_a_bad_variable_is_named_with_what_it_should_be(loaded: Loaded, name: str, value: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(env={name: value})
    assert name in str(caught.value)
    assert expected in str(caught.value)


def test_a_variable_that_looks_misspelt_is_told() -> None:
    strange = {"GLEITZEIT_OLLAMA_STRATGY": "x", "GLEITZEIT_SOMETHING_ELSE": "x", "GLEITZEIT_DEMO_OLLAMA": "1", "PATH": ""}
    assert misspelt(strange) == [("GLEITZEIT_OLLAMA_STRATGY", "GLEITZEIT_OLLAMA_STRATEGY")]


def test_ollamas_own_variables_say_where_to_look(loaded: Loaded) -> None:
    env = {"OLLAMA_HOST": "0.0.0.0", "OLLAMA_BASE_URL": "http://host.docker.internal:11434/"}
    assert loaded(env=env).discovery_urls == ("http://127.0.0.1:11434", "http://host.docker.internal:11434")
    assert loaded({"instances": []}, env=env).discovery_urls == ()


def test_the_constructors_interval_beats_the_nested_one() -> None:
    assert pool_settings([], {"health_check_interval": 30}, 10).balancing.health_check_interval_s == 10.0
    assert pool_settings([], {"health_check_interval": 30}).balancing.health_check_interval_s == 30.0


def test_the_constructors_breaker_beats_the_nested_one_key_by_key() -> None:
    nested = {"circuit_breaker": {"failure_threshold": 9, "recovery_timeout": 9}}
    breaker = pool_settings([], nested, None, {"failure_threshold": 2}).breaker
    assert (breaker.failure_threshold, breaker.recovery_timeout_s) == (2, 9.0)


def test_a_constructors_settings_come_from_its_arguments_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLEITZEIT_OLLAMA_INSTANCES", "env:http://elsewhere")
    monkeypatch.setenv("GLEITZEIT_PYTHON_MODE", "restricted")
    assert pool_settings() == PoolSettings()
    assert sandbox_settings() == SandboxSettings()


def test_a_later_list_of_instances_replaces_the_earlier_one(loaded: Loaded, own_file: Write) -> None:
    own_file("ollama: {instances: [{id: gpu, url: gpu, api_key: env:NOT_SET}]}")
    config = loaded(env={"GLEITZEIT_OLLAMA_INSTANCES": "gpu:http://other"})
    assert config.pool.instances[0].url == "http://other"
    assert config.pool.instances[0].api_key is None


def test_modes_merge_key_by_key_across_layers(loaded: Loaded, own_file: Write) -> None:
    own_file("python: {modes: {docker-sandbox: {image: mine, timeout: 5}}}")
    config = loaded(None, {"execution_modes": [{"id": "docker-sandbox", "memory": "64m"}]}, env={"GLEITZEIT_DOCKER_IMAGE": "theirs"})
    mode = config.sandbox.modes["docker-sandbox"]
    assert (mode.image, mode.limits) == ("theirs", Limits(timeout_s=5.0, memory_bytes=64 << 20))


@pytest.mark.parametrize(
    ("mode", "kind", "enabled"),
    [
        ({"id": "box", "type": "native"}, "restricted", True),
        ({"id": "box", "type": "native", "trusted": False}, "restricted", True),
        ({"id": "box", "type": "native", "trusted": True}, "local", True),
        ({"id": "box", "type": "native", "trusted": True, "enabled": False}, "local", False),
        ({"id": "box", "type": "local"}, "local", False),
        ({"id": "local", "type": "native"}, "local", False),
        ({"id": "local", "enabled": True}, "local", True),
        ({"id": "box", "type": "container"}, "docker", True),
        ({"id": "box", "image": "x"}, "docker", True),
        ({"id": "docker-box"}, "docker", True),
    ],
)
def test_a_modes_kind_follows_its_type_and_local_stays_off_unless_said(mode: dict[str, Any], kind: str, enabled: bool) -> None:
    made = sandbox_settings({"execution_modes": [mode]}).modes[mode["id"]]
    assert (made.kind, made.enabled) == (kind, enabled)


def test_a_key_that_is_named_is_read_from_the_environment() -> None:
    instance = instance_settings({"id": "a", "url": "a", "api_key": "env:MY_KEY"}, environ={"MY_KEY": "hunter2"})
    assert instance.api_key == Secret("hunter2")
    assert "hunter2" not in repr(instance)


def test_a_secret_object_is_taken_as_it_is() -> None:
    assert instance_settings({"id": "a", "url": "a", "api_key": Secret("env:x")}).api_key == Secret("env:x")


def test_a_literal_key_works_and_warns(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="gleitzeit_nb")
    with pytest.warns(ConfigWarning, match="env:NAME") as warned:
        instance = instance_settings({"id": "a", "url": "a", "api_key": "hunter2"}, origin="here")
    assert instance.api_key == Secret("hunter2")
    assert "hunter2" not in caplog.text + str(warned[0].message)
    assert "api_key of instance 'a'" in caplog.text


def test_user_info_in_a_url_becomes_authentication_and_warns() -> None:
    with pytest.warns(ConfigWarning, match="user info"):
        instance = instance_settings({"id": "a", "url": "https://me:hunter2@gpu"})
    assert (instance.url, instance.basic_auth) == ("https://gpu", Secret("me:hunter2"))


def test_user_info_in_the_variable_does_not_warn(loaded: Loaded) -> None:
    instance = loaded(env={"GLEITZEIT_OLLAMA_INSTANCES": "a:https://me:hunter2@gpu"}).pool.instances[0]
    assert instance.basic_auth == Secret("me:hunter2")


@pytest.mark.parametrize("key", ["env:NOT_SET", "env:", "keyring:", "", "  "])
def test_a_key_that_cannot_be_had_is_an_error_that_names_its_instance(key: str) -> None:
    with pytest.raises(ConfigError, match="api_key of instance 'a'"):
        instance_settings({"id": "a", "url": "a", "api_key": key}, environ={})


def test_a_key_pasted_behind_env_is_not_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        instance_settings({"id": "a", "url": "a", "api_key": "env:sk-hunter2"}, environ={})
    assert "hunter2" not in str(caught.value)


def test_nothing_that_is_shown_holds_a_secret(loaded: Loaded) -> None:
    with pytest.warns(ConfigWarning):
        config = loaded(
            {"instances": [{"id": "a", "url": "a", "api_key": "hunter2"}, {"id": "b", "url": "https://me:hunter2@b"}]},
            {"modes": {"docker-sandbox": {"environment": {"TOKEN": "hunter2"}}}},
        )
    assert "hunter2" not in json.dumps(config.describe())
    assert "hunter2" not in repr(config.pool)


def test_what_describe_gives_can_be_loaded_again(loaded: Loaded, own_file: Write) -> None:
    own_file(LONG_FORM)
    config = loaded()
    said = config.describe()
    again = loaded(said["ollama"], said["python"])
    assert again.pool == config.pool
    assert again.sandbox == config.sandbox


def test_directories_follow_xdg_and_are_never_relative(home: Path) -> None:
    assert config_directory({}, home) == home / ".config" / "gleitzeit"
    assert config_directory({"XDG_CONFIG_HOME": "/x"}, home) == Path("/x/gleitzeit")
    assert config_directory({"XDG_CONFIG_HOME": "x"}, home) == home / ".config" / "gleitzeit"
    assert cache_directory({"XDG_CACHE_HOME": "/c"}, home) == Path("/c/gleitzeit")
    assert cache_directory({"XDG_CACHE_HOME": "/c", "GLEITZEIT_CACHE_DIR": "/d"}, home) == Path("/d")
    assert state_directory({}, home) == home / ".local" / "state" / "gleitzeit"
    with pytest.raises(ConfigError, match="HOME"):
        config_directory({}, Path("relative"))


def test_a_file_in_the_working_directory_is_not_read(loaded: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("config.yaml", "gleitzeit.yaml", ".config/gleitzeit/config.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("ollama: {default_model: evil}")
    monkeypatch.chdir(tmp_path)
    assert loaded().pool.default_model is None
    assert loaded(env={"XDG_CONFIG_HOME": ".config"}).pool.default_model is None


def test_keep_alive_is_one_time_or_one_for_each_model(loaded: Callable[..., Config], own_file: Callable[[str], Path]) -> None:
    own_file("ollama: {keep_alive: 30m, preload: [llama3.2]}")
    assert loaded().pool.keep_alive.of("any") == 1800
    assert loaded().pool.preload == ("llama3.2",)
    own_file("ollama: {keep_alive: {default: 5m, Phi: -1}}")
    times = loaded().pool.keep_alive
    assert (times.of("phi:latest"), times.of("any")) == (-1, 300)
    assert loaded().describe()["ollama"]["keep_alive"] == {"default": 300, "phi:latest": -1}


@pytest.mark.parametrize("written", ["0", "soon", "{phi: 0}", "[1]"])
def test_keep_alive_that_cannot_be_is_refused(loaded: Callable[..., Config], own_file: Callable[[str], Path], written: str) -> None:
    own_file(f"ollama: {{keep_alive: {written}}}")
    with pytest.raises(ConfigError, match="keep_alive should"):
        loaded()


def test_aliases_of_all_layers_count_and_are_described_as_written(loaded: Loaded, own_file: Write) -> None:
    own_file("ollama:\n  aliases:\n    fast: [a, b]\n    big: {gpu: c}\n")
    config = loaded(ollama_config={"aliases": {"fast": "d"}})
    assert config.describe()["ollama"]["aliases"] == {"fast": ["d"], "big": {"gpu": "c"}}


def test_recordings_are_named_by_the_environment(loaded: Loaded, tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    assert loaded(env={"GLEITZEIT_RECORD": str(file)}).pool.record == str(file)
    assert loaded(env={"GLEITZEIT_RECORD": "run.jsonl"}).pool.record == str(Path("run.jsonl").absolute())
    with pytest.raises(ConfigError, match=r"^GLEITZEIT_REPLAY: there is no recording"):
        loaded(env={"GLEITZEIT_REPLAY": str(file)})
    file.touch()
    assert loaded(env={"GLEITZEIT_REPLAY": str(file)}).pool.replay == str(file)
    with pytest.raises(ConfigError, match=r"^GLEITZEIT_REPLAY: .* \(GLEITZEIT_RECORD\) while"):
        loaded(env={"GLEITZEIT_REPLAY": str(file), "GLEITZEIT_RECORD": str(file)})


def test_the_cache_is_off_and_bounded_unless_the_configuration_says_otherwise(loaded: Loaded) -> None:
    assert loaded().pool.cache == CacheSettings(enabled=False, max_bytes=256 << 20)
    assert loaded(ollama_config={"cache": {"enabled": True, "max_size": "1g"}}).pool.cache == CacheSettings(enabled=True, max_bytes=1 << 30)
