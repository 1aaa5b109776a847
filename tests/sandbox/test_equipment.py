"""What a mode asks of the daemon beside the profile: a runtime and GPUs that it must have, and more CPUs than there are."""

from __future__ import annotations

import os
from typing import Any

import pytest

from gleitzeit_nb.config import sandbox_settings
from gleitzeit_nb.core.execution import DATASCIENCE_IMAGE, DOCKER_MODE, ModeSettings
from gleitzeit_nb.core.volumes import Volume
from gleitzeit_nb.errors import ConfigError, SandboxUnavailableError
from gleitzeit_nb.sandbox import Sandbox, images
from gleitzeit_nb.sandbox.equipment import ALL_BY_CDI, daemon_cpus, equipment, gpu_request, isolation_line, refuse_unfitting
from gleitzeit_nb.sandbox.profile import Profile
from gleitzeit_nb.sandbox.volumes import Held

RUNC = {"runc": {"path": "runc"}}
GPU_MODE = ModeSettings("docker-gpu", "docker", "GPU", gpu=True)


def never() -> dict[str, Any]:
    raise AssertionError("the daemon was asked")


def test_a_mode_that_asks_for_nothing_costs_no_call() -> None:
    assert equipment(ModeSettings(DOCKER_MODE, "docker", "Sandbox"), Held(), never) == {}
    assert daemon_cpus(1.0, never) == 1.0


def test_more_cpus_than_there_are_means_all_of_them() -> None:
    assert daemon_cpus(64.0, lambda: {"NCPU": 4}) == 4.0
    assert daemon_cpus(2.5, lambda: {"NCPU": 4}) == 2.5


def test_a_runtime_that_the_daemon_has_is_passed_on() -> None:
    mode = ModeSettings("docker-g", "docker", "G", runtime="runsc")
    assert equipment(mode, Held(), lambda: {"Runtimes": {**RUNC, "runsc": {}}}) == {"runtime": "runsc"}
    assert Profile().expectations_of(mode, Held()).seccomp is None  # a kernel of its own, which the host's filter does not reach
    assert Profile().expectations_of(mode, Held()).uid == 65534
    assert "a kernel of its own (runsc)" in isolation_line(mode, "x", 65534)
    assert Profile().expectations_of(ModeSettings("docker-c", "docker", "C", runtime="crun"), Held()).seccomp is True


def test_volumes_and_a_kernel_of_its_own_exclude_each_other() -> None:
    volumes = {"volumes": ["/srv/a:/a"], "runtime": "runsc"}
    with pytest.raises(ConfigError, match="cannot be compared inside runsc"):
        sandbox_settings({"modes": {"docker-g": volumes}})
    mode = ModeSettings("docker-g", "docker", "G", runtime="runsc", volumes=(Volume("/srv/a", "/a"),))
    with pytest.raises(ConfigError, match="runs on runsc, a kernel of its own"):
        refuse_unfitting(mode)


def test_an_unknown_runtime_is_an_error_that_names_those_there_are() -> None:
    mode = ModeSettings("docker-g", "docker", "G", runtime="runsk")
    with pytest.raises(SandboxUnavailableError, match=r"no runtime 'runsk'.* Did you mean 'runsc'\? It has: runc, runsc\.\nInstall it"):
        equipment(mode, Held(), lambda: {"Runtimes": {**RUNC, "runsc": {}}})


def test_gpus_are_asked_for_by_cdi_or_by_nvidias_runtime() -> None:
    by_cdi = {"Runtimes": RUNC, "DiscoveredDevices": [{"Source": "cdi", "ID": ALL_BY_CDI}]}
    assert gpu_request("m", by_cdi) == {"Driver": "cdi", "DeviceIDs": [ALL_BY_CDI]}
    by_runtime = {"Runtimes": {**RUNC, "nvidia": {}}, "DiscoveredDevices": None}
    assert equipment(GPU_MODE, Held(), lambda: by_runtime)["device_requests"] == [
        {"Driver": "nvidia", "Count": -1, "Capabilities": [["gpu"]]}
    ]


@pytest.mark.parametrize("info", [{"Runtimes": RUNC}, {}, {"DiscoveredDevices": [{"ID": "vendor.com/net=all"}]}])
def test_without_either_the_error_says_what_to_install(info: dict[str, Any]) -> None:
    with pytest.raises(SandboxUnavailableError, match=r"'docker-gpu' asks for a GPU.*\n.*nvidia-container-toolkit"):
        equipment(GPU_MODE, Held(), lambda: info)


@pytest.mark.docker
async def test_on_the_daemon_a_mode_of_the_users_own_has_its_image_environment_limits_and_runtime(docker_image: str) -> None:
    mode = {
        "id": "docker-mine",
        "type": "container",
        "image": docker_image,
        "memory": "256m",
        "cpu": 64,  # more than there are
        "timeout": "20s",
        "environment": {"GREETING": "hello"},
        "runtime": "io.containerd.runc.v2",  # every daemon has this one beside "runc"
    }
    async with Sandbox({"execution_modes": [mode], "container_pool": {"min_warm": 0}}) as sandbox:
        result = await sandbox.execute("import os; print(os.environ['GREETING'])", "docker-mine")
        assert (result.status, result.stdout) == ("ok", "hello\n"), result.detail
        assert [view.level for view in sandbox.mode_views() if view.id == "docker-mine"] == [4]


@pytest.mark.docker
@pytest.mark.parametrize(("key", "value", "says"), [("runtime", "runsk", "It has: .*runc"), ("gpu", True, "nvidia-container-toolkit")])
async def test_what_the_daemon_has_not_got_is_told_by_the_check_and_by_the_run(docker_image: str, key: str, value: Any, says: str) -> None:
    async with Sandbox({"modes": {"docker-mine": {"image": docker_image, key: value}}, "container_pool": {"min_warm": 0}}) as sandbox:
        if key == "gpu":
            info = await _info()
            if "nvidia" in (info.get("Runtimes") or ()):
                pytest.skip("this daemon has GPUs")
        with pytest.raises(SandboxUnavailableError, match=says):
            await sandbox.check("docker-mine")
        with pytest.raises(SandboxUnavailableError, match=says):
            await sandbox.execute("1", "docker-mine")
        assert (await sandbox.execute("print(1)", DOCKER_MODE)).ok


async def _info() -> dict[str, Any]:
    from gleitzeit_nb.sandbox.daemon import DockerDaemon

    daemon = DockerDaemon()
    try:
        return await daemon.call("describe itself", lambda api: dict(api.info()))
    finally:
        daemon.close()


@pytest.mark.docker
async def test_one_cell_may_ask_for_the_gpu(docker_sandbox: Sandbox) -> None:
    if "nvidia" in ((await _info()).get("Runtimes") or ()):
        pytest.skip("this daemon has GPUs")
    with pytest.raises(SandboxUnavailableError, match="asks for a GPU"):
        await docker_sandbox.execute("1", gpu=True)


@pytest.mark.docker
async def test_more_cpus_than_the_machine_has_is_all_it_has(docker_sandbox: Sandbox) -> None:
    result = await docker_sandbox.execute("import os; print(len(os.sched_getaffinity(0)))", cpu_limit=1000)
    assert result.stdout == f"{os.cpu_count()}\n"
    assert (await docker_sandbox.execute("print(1)", cpu_limit=0.5)).ok


def test_data_science_without_its_image_says_how_to_make_it() -> None:
    assert "gleitzeit-nb images build datascience" in str(images.missing(DATASCIENCE_IMAGE))
