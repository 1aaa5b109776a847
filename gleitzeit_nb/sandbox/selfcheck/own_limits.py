"""Limits that one run asks for hold for that run, not those of its mode."""

from __future__ import annotations

from typing import Any

from gleitzeit_nb.core.execution import MIB
from gleitzeit_nb.sandbox.selfcheck.check import DOCKER, Area, Execute, Where
from gleitzeit_nb.sandbox.selfcheck.probing import seen
from gleitzeit_nb.sandbox.selfcheck.resources import FORKS

AREA = Area("limits of one run")


@AREA.check(
    "no process limit",
    proves="limits",
    tried="fork 200 times in a run that asked for 20 processes",
    expected=Where("from 8 to 19 processes", lambda seen, _: 8 <= seen < 20),
)
async def a_run_has_as_many_processes_as_it_asked_for(execute: Execute) -> Any:
    """A run's own limit of processes holds."""
    return await seen(execute, FORKS, pids_limit=20)


SIZES = "seen = [os.statvfs(place).f_blocks * os.statvfs(place).f_frsize for place in ('/work', '/tmp', '/dev/shm')]"


@AREA.check(
    "no disk limit",
    proves="limits",
    tried="statvfs of the writable places in a run that asked for 2 MiB, and 1 MiB of /dev/shm",
    expected=[2 * MIB, 2 * MIB, MIB],
)
async def a_run_has_as_much_room_as_it_asked_for(execute: Execute) -> Any:
    """A run's own limits of the writable places hold."""
    return await seen(execute, SIZES, workspace_size="2m", shm_size="1m")


COUNTS = "seen = max(os.statvfs(place).f_files for place in ('/work', '/tmp', '/dev/shm'))"


@AREA.check(
    "no inode limit",
    proves="limits",
    tried="statvfs of the writable places in a run that asked for 50 files",
    expected=Where("at most 50", lambda seen, _: 0 < seen <= 50),
    forms=DOCKER,
)
async def a_run_has_as_many_files_as_it_asked_for(execute: Execute) -> Any:
    """A run's own limit of files in the writable places holds."""
    return await seen(execute, COUNTS, workspace_files=50)


@AREA.check(
    "no resource limits",
    proves="limits",
    tried="getrlimit of NOFILE and FSIZE in a run that asked for 99 open files of 1 MiB",
    expected=[99, MIB],
)
async def a_run_opens_as_many_files_as_it_asked_for(execute: Execute) -> Any:
    """A run's own limits of open files and of the size of one file hold."""
    code = "import resource; seen = [resource.getrlimit(resource.RLIMIT_NOFILE)[1], resource.getrlimit(resource.RLIMIT_FSIZE)[1]]"
    return await seen(execute, code, max_open_files=99, max_file_size="1m")


@AREA.check(
    "no memory limit",
    proves="limits",
    tried="take 300 MiB in a run that asked for 192 MiB",
    expected="oom",
)
async def a_run_has_as_much_memory_as_it_asked_for(execute: Execute) -> Any:
    """A run's own limit of memory holds."""
    return (await execute("held = b'x' * (300 << 20)\nprint(len(held))", memory_limit="192m")).status
