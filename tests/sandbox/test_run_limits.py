"""Limits of one run on the real daemon: each reaches the container that the run gets, and the next run has the mode's again."""

from __future__ import annotations

from typing import Any

import pytest

from gleitzeit_nb.core.execution import MIB
from gleitzeit_nb.core.run_limits import LEAST
from gleitzeit_nb.errors import ConfigError
from gleitzeit_nb.sandbox import Sandbox

pytestmark = pytest.mark.docker

SEEN = """
import os, resource
def room(folder):
    found = os.statvfs(folder)
    return found.f_blocks * found.f_frsize, found.f_files
def cgroup(*names):
    return next(int(open(f"/sys/fs/cgroup/{name}").read()) for name in names if os.path.exists(f"/sys/fs/cgroup/{name}"))
seen = {
    "memory_limit": cgroup("memory.max", "memory/memory.limit_in_bytes"),
    "pids_limit": cgroup("pids.max", "pids/pids.max"),
    "max_open_files": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
    "max_file_size": resource.getrlimit(resource.RLIMIT_FSIZE)[0],
    "workspace_size": room("/work")[0],
    "workspace_files": room("/tmp")[1],
    "shm_size": room("/dev/shm")[0],
}
"""
OWN = {
    "memory_limit": 96 * MIB,
    "pids_limit": 17,
    "max_open_files": 99,
    "max_file_size": 3 * MIB,
    "workspace_size": 5 * MIB,
    "workspace_files": 77,
    "shm_size": 2 * MIB,
}


async def seen(sandbox: Sandbox, **options: Any) -> dict[str, int]:
    result = await sandbox.execute(SEEN, outputs=("seen",), **options)
    assert result.ok, result.traceback or result.detail
    found: dict[str, int] = result.outputs["seen"]
    return found


async def test_each_limit_of_a_cell_holds_for_that_cell(docker_sandbox: Sandbox) -> None:
    usual = await seen(docker_sandbox)
    assert await seen(docker_sandbox, **OWN) == OWN
    assert await seen(docker_sandbox) == usual
    assert usual["shm_size"] == 64 * MIB


async def test_the_least_that_is_taken_is_enough(docker_sandbox: Sandbox) -> None:
    """Output and time aside, which belong to what the code does."""
    least: dict[str, Any] = {
        "memory_limit": LEAST["memory_bytes"],
        "pids_limit": LEAST["pids"],
        "max_open_files": LEAST["open_files"],
        "max_file_size": LEAST["file_bytes"],
        "workspace_size": LEAST["workspace_bytes"],
        "workspace_files": LEAST["workspace_inodes"],
        "shm_size": LEAST["shm_bytes"],
        "max_output": LEAST["output_bytes"],
        "max_value": LEAST["value_bytes"],
        "max_display": LEAST["display_bytes"],
    }
    for _ in range(2):  # the second in the same container
        result = await docker_sandbox.execute("print(6 * 7)", **least)
        assert (result.status, result.stdout) == ("ok", "42\n"), result.detail


async def test_less_is_refused_before_a_container_is_made(docker_sandbox: Sandbox) -> None:
    with pytest.raises(ConfigError, match="pids_limit should be at least 2"):
        await docker_sandbox.execute("1", pids_limit=1)
    assert docker_sandbox.run_views() == ()
    assert not docker_sandbox.mode_views()[0].containers
