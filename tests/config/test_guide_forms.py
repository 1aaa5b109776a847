"""Every form in which the guide configures sandboxes loads, and means what it says there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gleitzeit_nb.config import Config, sandbox_settings
from gleitzeit_nb.core.execution import MIB, Limits
from gleitzeit_nb.core.volumes import Volume

LIST_FORM = """
providers:
  python:
    execution_modes:
      - id: "local"
        type: "native"
        trusted: true
        allowed_modules: ["pandas", "numpy", "requests"]
      - id: "docker-sandbox"
        type: "container"
        image: "python:3.11-slim"
        memory_limit: "512m"
        cpu_limit: 1.0
        timeout: 60
        network: "none"
        read_only_root: true
      - id: "docker-datascience"
        type: "container"
        image: "gleitzeit/datascience:latest"
        volumes:
          - "./data:/data:ro"
          - "./output:/output:rw"
        memory_limit: "2g"
        cpu_limit: 2.0
        gpu: true
        network: "restricted"
"""


def test_the_list_form(loaded: Callable[..., Config], own_file: Callable[[str], Path]) -> None:
    folder = own_file(LIST_FORM).parent
    modes = loaded().sandbox.modes
    local, sandbox, science = modes["local"], modes["docker-sandbox"], modes["docker-datascience"]
    assert (local.kind, local.enabled, local.allowed_modules) == ("local", True, ("pandas", "numpy", "requests"))
    assert (sandbox.image, sandbox.limits, sandbox.network) == ("python:3.11-slim", Limits(), "none")
    assert (science.image, science.gpu, science.limits) == ("gleitzeit/datascience:latest", True, Limits(memory_bytes=2048 * MIB, cpus=2.0))
    assert science.network == "restricted"
    assert science.volumes == (Volume(f"{folder}/data", "/data"), Volume(f"{folder}/output", "/output", writable=True))


def test_the_dictionary_form() -> None:
    settings = sandbox_settings(
        {
            "default_mode": "docker-sandbox",
            "modes": {
                "local": {"enabled": False},
                "docker-sandbox": {
                    "image": "python:3.11-slim",
                    "memory_limit": "512m",
                    "cpu_limit": 1.0,
                    "network": "none",
                    "timeout": 60,
                },
                "docker-datascience": {
                    "image": "gleitzeit/datascience:latest",
                    "memory_limit": "4g",
                    "cpu_limit": 4.0,
                    "gpu": True,
                    "volumes": {"/data": {"bind": "/data", "mode": "ro"}, "/models": {"bind": "/models", "mode": "ro"}},
                },
            },
            "container_pool": {"max_containers": 10, "idle_timeout": 300, "reuse_containers": True},
        }
    )
    assert not settings.modes["local"].enabled
    science = settings.modes["docker-datascience"]
    assert (science.gpu, science.limits) == (True, Limits(memory_bytes=4096 * MIB, cpus=4.0))
    assert science.volumes == (Volume("/data", "/data"), Volume("/models", "/models"))
    assert (settings.default_mode, settings.container_pool.idle_timeout_s) == ("docker-sandbox", 300.0)


def test_a_tasks_container_in_the_short_words() -> None:
    """`memory` and `cpu`, as the guide writes them for a single task."""
    mode = sandbox_settings({"modes": {"docker-task": {"image": "python:3.11-alpine", "memory": "256m", "cpu": 0.5, "timeout": 30}}})
    assert mode.modes["docker-task"].limits == Limits(memory_bytes=256 * MIB, cpus=0.5, timeout_s=30.0)


def test_relative_paths_count_from_the_file_that_names_them_or_from_the_working_directory(
    loaded: Callable[..., Config], own_file: Callable[[str], Path], home: Path
) -> None:
    folder = own_file("python: {volume_roots: [., ../srv], modes: {docker-a: {volumes: ['../srv/a:/a', './b/../c:/c']}}}").parent
    sandbox = loaded().sandbox
    assert sandbox.volume_roots == (str(folder), str(folder.parent / "srv"))
    assert [each.host for each in sandbox.modes["docker-a"].volumes] == [f"{folder.parent}/srv/a", f"{folder}/c"]
    in_code = sandbox_settings({"modes": {"docker-a": {"volumes": ["./a:/a"]}}})
    assert in_code.modes["docker-a"].volumes[0].host == str(Path.cwd() / "a")


def test_what_is_described_of_volumes_can_be_loaded_again() -> None:
    settings = sandbox_settings({"volume_roots": ["/srv"], "modes": {"docker-a": {"volumes": {"/srv/a": "/a:rw"}, "gpu": True}}})
    config = Config(sandbox=settings)
    assert sandbox_settings(config.describe()["python"]) == settings
