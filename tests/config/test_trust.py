"""A file that merely lay in a working directory may make nothing weaker; the user's own files may."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from gleitzeit_nb.config import Config
from gleitzeit_nb.config.access_sections import AccessFields, TlsSection
from gleitzeit_nb.config.instance_sections import InstanceSection
from gleitzeit_nb.config.limit_sections import LimitFields
from gleitzeit_nb.config.network_sections import NetworkLimitsSection
from gleitzeit_nb.config.ollama_sections import BalancingSection, BreakerSection, CacheSection, QueueSection, ReceiptSection, TimeoutSection
from gleitzeit_nb.config.sandbox_sections import ContainerPoolSection
from gleitzeit_nb.core.access import AccessSettings, TlsSettings
from gleitzeit_nb.core.admission import AdmissionSettings
from gleitzeit_nb.core.breaker import BreakerSettings
from gleitzeit_nb.core.execution import ContainerPoolSettings, Limits
from gleitzeit_nb.core.instances import InstanceSettings
from gleitzeit_nb.core.network import NetworkLimits
from gleitzeit_nb.core.receipts import ReceiptSettings
from gleitzeit_nb.core.remembering import CacheSettings
from gleitzeit_nb.core.strategies import BalancingSettings
from gleitzeit_nb.core.timeouts import TimeoutSettings
from gleitzeit_nb.errors import ConfigError

Write = Callable[[str], Path]
Loaded = Callable[..., Config]

WEAKER = {
    "local enabled": ("python:\n  modes:\n    local:\n      enabled: true", 4, "switched on"),
    "local trusted": ("python:\n  execution_modes:\n  - id: local\n    type: native\n    trusted: true", 3, "switched on"),
    "local by another name": ("python:\n  modes:\n    box:\n      type: native\n      trusted: true", 3, "switched on"),
    "local named local": ("python:\n  modes:\n    box:\n      type: local\n      enabled: true", 5, "switched on"),
    "local in the long form": ("providers:\n  python:\n    modes:\n      local:\n        enabled: true", 5, "switched on"),
    "weaker restricted": ("python:\n  modes:\n    restricted:\n      allow_weaker: true", 4, "weaker isolation"),
    "weaker new mode": ("python:\n  modes:\n    box:\n      type: restricted\n      allow_weaker: true", 5, "weaker isolation"),
    "default restricted": ("python:\n  default_mode: restricted", 2, "isolates less"),
    "more memory": ("python:\n  modes:\n    docker-sandbox:\n      memory: 4g", 4, "memory_bytes"),
    "more memory in a new mode": ("python:\n  modes:\n    docker-x:\n      memory: 4g", 4, "memory_bytes"),
    "more time": ("python:\n  modes:\n    docker-sandbox:\n      timeout: 1h", 4, "timeout_s"),
    "more processes": ("python:\n  modes:\n    docker-sandbox:\n      pids_limit: 9999", 4, "pids"),
    "more output": ("python:\n  modes:\n    docker-sandbox:\n      max_output: 32m", 4, "output_bytes"),
    "more cpus": ("python:\n  modes:\n    restricted:\n      cpu_limit: 64", 4, "cpus"),
    "more containers": ("python:\n  container_pool:\n    max_containers: 99", 2, "max_containers"),
    "more uses": ("python:\n  container_pool:\n    max_uses: 9999", 2, "max_uses"),
    "environment of a host process": ("python:\n  modes:\n    restricted:\n      environment: {LD_PRELOAD: ./x.so}", 4, "environment"),
    "a named key": ("ollama:\n  instances:\n  - id: a\n    url: http://evil\n    api_key: env:AWS_SECRET", 5, "a key"),
    "a literal key": ("ollama:\n  instances:\n  - id: a\n    url: http://evil\n    api_key: x", 5, "a key"),
    "a keyring's key": ("ollama:\n  instances:\n  - id: a\n    url: http://evil\n    api_key: keyring:x", 5, "a key"),
    "headers": ("ollama:\n  instances:\n  - id: a\n    url: http://evil\n    headers: {X: env:AWS_SECRET}", 5, "headers"),
    "a pair": ("ollama:\n  instances:\n  - id: a\n    url: http://evil\n    basic_auth: env:AWS_SECRET", 5, "a key"),
    "a bearer": ("ollama:\n  instances:\n  - id: a\n    url: http://evil\n    bearer: env:AWS_SECRET", 5, "a key"),
    "a proxy": ("ollama:\n  instances:\n  - id: a\n    url: http://evil\n    proxy: http://evil:1", 5, "a proxy"),
    "no verifying": ("ollama:\n  instances:\n  - id: a\n    url: https://evil\n    tls:\n      verify: false", 6, "sets verify"),
    "a client certificate": ("ollama:\n  instances:\n  - id: a\n    url: https://evil\n    tls:\n      client_cert: x", 6, "client_cert"),
    "a proxy for all": ("ollama:\n  proxy: http://evil:1", 2, "for the whole pool"),
    "an authority for all": ("ollama:\n  tls:\n    ca_file: ./ca.pem", 2, "for the whole pool"),
    "a key for all": ("ollama:\n  api_key: env:AWS_SECRET", 2, "for the whole pool"),
    "user info": ("ollama:\n  instances:\n  - id: a\n    url: http://me:pw@evil", 4, "user info"),
    "a file for receipts": ("ollama:\n  receipts:\n    file: ~/.bashrc\n    prompts: true", 2, "receipts of your requests"),
    "a docker daemon": ("python:\n  docker_host: tcp://evil", 2, "docker_host"),
    "answers kept": ("ollama:\n  cache: {enabled: true}", 2, "kept on this machine"),
    "answers recorded": ("ollama:\n  record: ./x.jsonl", 2, "writes a file"),
    "an alias": (
        "ollama:\n  aliases: {llama3.2: 'gpt-oss:120b-cloud'}",
        2,
        "aliases lets names stand for other models; it lists",
    ),
    "a default model": ("ollama:\n  default_model: gpt-oss:120b-cloud", 2, "default_model chooses the model"),
    "a default model by another name": ("ollama:\n  health_check_interval: 9\n  model: x", 3, "default_model chooses the model"),
    "models loaded": ("ollama:\n  instances: []\n  preload: [llama3.2:70b]", 3, "preload loads models"),
    "models kept loaded": ("ollama:\n  keep_alive: -1", 2, "keep_alive says how long"),
    "a volume": ("python:\n  modes:\n    docker-sandbox:\n      volumes: [/x:/data]", 4, "mounts folders of this machine"),
    "a volume in a new mode": ("python:\n  modes:\n    docker-x:\n      volumes: {/x: /data}", 4, "mounts folders of this machine"),
    "the GPU": ("python:\n  modes:\n    docker-sandbox:\n      gpu: true", 4, "takes the GPU"),
    "a runtime": ("python:\n  modes:\n    docker-sandbox:\n      runtime: runc", 4, "chooses another runtime"),
    "a wheelhouse": ("python:\n  wheelhouse: /wheels", 2, "wheelhouse says whose packages are installed"),
    "volume roots": ("python:\n  volume_roots: [/data]", 2, "volume_roots says which folders"),
    "a network": ("python:\n  modes:\n    docker-sandbox:\n      network: restricted", 4, "gives code a network"),
    "a network in a new mode": ("python:\n  modes:\n    docker-x:\n      network: restricted", 4, "gives code a network"),
    "allowed hosts": ("python:\n  modes:\n    docker-sandbox:\n      allow: [evil.org]", 4, "allows evil.org"),
    "inner addresses": ("python:\n  modes:\n    docker-sandbox:\n      allow_private: [10.0.0.0/8]", 4, "opens 10.0.0.0/8"),
    "more connections": ("python:\n  modes:\n    restricted:\n      network_limits: {max_bytes: 1g}", 4, "raises run_bytes"),
}


@pytest.mark.parametrize(("text", "line", "words"), WEAKER.values(), ids=WEAKER)
def test_a_strangers_file_is_refused_with_its_line(loaded: Loaded, a_file: Write, text: str, line: int, words: str) -> None:
    path = a_file(text)
    with pytest.raises(ConfigError) as caught:
        loaded(use_file=path, env={"AWS_SECRET": "hunter2"})
    message = str(caught.value)
    assert f"{path}:{line}: " in message
    assert words in message
    assert "hunter2" not in message
    assert "env:AWS_SECRET" not in message


OWN = {
    name: case
    for name, case in WEAKER.items()
    if name
    not in (
        *("a docker daemon", "a literal key", "user info", "a keyring's key"),
        *("a pair", "no verifying", "a client certificate", "an authority for all", "a key for all"),  # which warn, or want a file
    )
}


@pytest.mark.parametrize("text", [case[0] for case in OWN.values()], ids=OWN)
def test_the_same_is_allowed_in_the_users_own_file_and_in_one_that_the_variable_names(
    loaded: Loaded, own_file: Write, a_file: Write, text: str
) -> None:
    named = a_file(text)
    by_variable = loaded(env={"GLEITZEIT_CONFIG": str(named), "AWS_SECRET": "x"})
    used_too = loaded(use_file=named, env={"GLEITZEIT_CONFIG": str(named), "AWS_SECRET": "x"})
    own_file(text)
    own = loaded(env={"AWS_SECRET": "x"})
    assert (own.pool, own.sandbox) == (by_variable.pool, by_variable.sandbox) == (used_too.pool, used_too.sandbox)


def test_a_strangers_file_may_choose_servers_balancing_images_and_tighter_limits(loaded: Loaded, a_file: Write) -> None:
    path = a_file(
        "ollama:\n  instances: [{id: demo, url: 'http://127.0.0.1:11500'}]\n  load_balancing: {strategy: round_robin}\n"
        "python:\n  default_mode: docker-slim\n"
        "  modes:\n    docker-slim: {image: slim, memory: 128m, timeout: 5, environment: {A: b}}\n    restricted: {enabled: false}\n"
        "  container_pool: {max_containers: 2, reuse_containers: false}\n"
    )
    config = loaded(use_file=path)
    assert config.pool.instances[0].url == "http://127.0.0.1:11500"
    assert config.sandbox.default_mode == "docker-slim"
    assert config.sandbox.modes["docker-slim"].limits.memory_bytes == 128 << 20
    assert not config.sandbox.modes["restricted"].enabled
    assert config.sources[-1] == f"{path} (used; not trusted)"


def test_what_the_user_allows_is_the_measure(loaded: Loaded, own_file: Write, a_file: Write) -> None:
    own_file(
        "python:\n  default_mode: restricted\n  modes: {restricted: {memory: 4g, allow_weaker: true, allowed_modules: [numpy, math]}}\n"
        "  container_pool: {reuse_containers: false}\n"
    )
    fine = a_file("python: {default_mode: auto, modes: {restricted: {memory: 3g, allow_weaker: true, allowed_modules: [math]}}}")
    assert loaded(use_file=fine).sandbox.modes["restricted"].limits.memory_bytes == 3 << 30
    for text, words in [
        ("python: {modes: {restricted: {memory: 5g}}}", "memory_bytes"),
        ("python: {modes: {restricted: {allowed_modules: [os]}}}", "more modules"),
        ("python: {modes: {restricted: {allowed_modules: null}}}", "more modules"),
        ("python: {container_pool: {reuse_containers: true}}", "reuses containers"),
    ]:
        with pytest.raises(ConfigError, match=words):
            loaded(use_file=a_file(text))


def test_volumes_of_the_users_own_may_be_left_out_or_made_read_only_and_not_more(loaded: Loaded, own_file: Write, a_file: Write) -> None:
    own_file("python: {volume_roots: [/srv], modes: {docker-mine: {volumes: ['/srv/a:/a', '/srv/b:/b:rw']}}}")
    for fewer in ("[]", "['/srv/b:/b:ro']", "['/srv/a:/a', '/srv/b:/b:rw']"):
        assert loaded(use_file=a_file(f"python: {{modes: {{docker-mine: {{volumes: {fewer}}}}}}}"))
    for more in ("['/srv/a:/a:rw']", "['/srv/c:/a']", "['/srv/a:/b']"):
        with pytest.raises(ConfigError, match="mounts folders"):
            loaded(use_file=a_file(f"python: {{modes: {{docker-mine: {{volumes: {more}}}}}}}"))


def test_a_ceiling_may_come_lower_and_not_higher(loaded: Loaded, own_file: Write, a_file: Write) -> None:
    own_file("python: {modes: {docker-sandbox: {ceiling: {memory: 2g}}}}")
    lower = "python: {modes: {docker-sandbox: {ceiling: {memory: 1g, timeout: 90}}}}"
    assert loaded(use_file=a_file(lower)).sandbox.modes["docker-sandbox"].ceiling == {"memory_bytes": 1 << 30, "timeout_s": 90.0}
    with pytest.raises(ConfigError, match="raises the ceiling of memory_limit to 3g from 2g"):
        loaded(use_file=a_file("python: {modes: {docker-sandbox: {ceiling: {memory: 3g}}}}"))


def test_a_network_may_be_taken_away_or_narrowed_and_never_widened(loaded: Loaded, own_file: Write, a_file: Write) -> None:
    own_file("python: {modes: {docker-sandbox: {network: restricted, allow: [a.org, b.org], allow_private: [10.0.0.1]}}}")
    for text in ("network: none", "allow: [B.org.]", "allow_private: []", "network_limits: {max_bytes: 1m}"):
        loaded(use_file=a_file(f"python: {{modes: {{docker-sandbox: {{{text}}}}}}}"))
    wider = {"allow: [a.org, c.org]": "allows c.org", "allow: ['*.a.org']": "allows", "allow_private: [10.0.0.0/24]": "opens"}
    for text, words in wider.items():
        with pytest.raises(ConfigError, match=words):
            loaded(use_file=a_file(f"python: {{modes: {{docker-sandbox: {{{text}}}}}}}"))


def test_a_mode_that_the_user_switched_off_stays_off(loaded: Loaded, own_file: Write, a_file: Write) -> None:
    own_file("python: {modes: {restricted: {enabled: false}}}")
    with pytest.raises(ConfigError, match="switched on"):
        loaded(use_file=a_file("python: {modes: {restricted: {enabled: true}}}"))


def test_a_choice_of_docker_is_not_loosened_to_auto(loaded: Loaded, own_file: Write, a_file: Write) -> None:
    own_file("python: {default_mode: docker-sandbox}")
    with pytest.raises(ConfigError, match="isolates less"):
        loaded(use_file=a_file("python: {default_mode: auto}"))


def test_a_strangers_server_never_gets_the_users_key(loaded: Loaded, own_file: Write, a_file: Write) -> None:
    own_file("ollama: {instances: [{id: gpu, url: 'https://gpu', api_key: env:KEY}]}")
    config = loaded(use_file=a_file("ollama: {instances: [{id: gpu, url: 'https://evil'}]}"), env={"KEY": "hunter2"})
    assert config.pool.instances == (InstanceSettings("gpu", "https://evil"),)


def test_a_strangers_file_may_require_more_tags_and_not_fewer(loaded: Loaded, own_file: Write, a_file: Write) -> None:
    own_file("ollama: {require_tags: [in-house]}")
    assert loaded(use_file=a_file("ollama: {require_tags: [gpu, in-house]}")).pool.require_tags == ("gpu", "in-house")
    for fewer in ("[]", "[gpu]"):
        with pytest.raises(ConfigError, match="require_tags leaves out in-house"):
            loaded(use_file=a_file(f"ollama: {{require_tags: {fewer}}}"))


def test_a_strangers_file_may_name_models_on_servers_of_its_own_while_those_count(loaded: Loaded, a_file: Write) -> None:
    servers = "instances: [{id: demo, url: 'http://demo'}]"
    path = a_file(f"ollama: {{{servers}, aliases: {{fast: phi}}, preload: [phi], default_model: fast, keep_alive: 60}}")
    assert loaded(use_file=path).pool.preload == ("phi",)
    mine = {"GLEITZEIT_OLLAMA_INSTANCES": "mine:http://mine"}
    with pytest.raises(ConfigError, match="preload loads models; its instances are overruled"):
        loaded(use_file=path, env=mine)
    assert loaded(use_file=a_file(f"ollama: {{{servers}}}"), env=mine).pool.instances[0].id == "mine"


def test_the_message_says_where_trusted_settings_belong(loaded: Loaded, a_file: Write) -> None:
    with pytest.raises(ConfigError, match="GLEITZEIT_CONFIG"):
        loaded(use_file=a_file(WEAKER["local enabled"][0]))


@pytest.mark.parametrize(
    ("section", "settings"),
    [
        (InstanceSection, InstanceSettings),
        (AccessFields, AccessSettings),
        (TlsSection, TlsSettings),
        (BreakerSection, BreakerSettings),
        (BalancingSection, BalancingSettings),
        (QueueSection, AdmissionSettings),
        (ReceiptSection, ReceiptSettings),
        (CacheSection, CacheSettings),
        (TimeoutSection, TimeoutSettings),
        (LimitFields, Limits),
        (ContainerPoolSection, ContainerPoolSettings),
        (NetworkLimitsSection, NetworkLimits),
    ],
)
def test_every_setting_of_core_can_be_configured_and_exists_once(section: Any, settings: Any) -> None:
    own = {each.name for each in fields(settings)} - {"written_at"}  # which the files say
    assert set(section.model_fields) - {"breaker"} == own
