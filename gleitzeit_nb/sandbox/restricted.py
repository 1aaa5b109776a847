"""The mode `restricted`: guests held by the kernel alone, for machines without Docker.

The strong form is bubblewrap with every namespace, landlock, seccomp and rlimits, with the guest as PID 1; as root inside a cgroup, on
tmpfs with a limit of inodes, and as a user that nobody else is. The weaker form goes without namespaces and needs the setting's consent.
`docs/design/restricted.md` says why each step stands where it does.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path

from gleitzeit_nb.core.execution import Limits, ModeSettings
from gleitzeit_nb.errors import ConfigError, SandboxUnavailableError
from gleitzeit_nb.sandbox.bundle import WORK_DIR, WRITABLE_DIRS
from gleitzeit_nb.sandbox.cgroup import Cgroup, find_hierarchy, group_name, sweep
from gleitzeit_nb.sandbox.channel import Expectations, GuestChannel
from gleitzeit_nb.sandbox.jail import bpf, landlock
from gleitzeit_nb.sandbox.jail.bubblewrap import describe_jail, find_bubblewrap
from gleitzeit_nb.sandbox.jail.commands import (
    Doors,
    Jail,
    Mounts,
    guest_environment,
    guest_program,
    jail_command,
    jail_message,
    resource_limits,
    whole_cpus,
)
from gleitzeit_nb.sandbox.jail.confinement import Confinement, Facts, choose, namespace_hint
from gleitzeit_nb.sandbox.jail.enclosure import (
    folders_in_jail,
    make_work_directory,
    must_be_reachable,
    refuse_unreachable,
    ruleset_in_jail,
    ruleset_without_namespaces,
    stage_mounts,
    staged_folders,
    tmpfs_options,
)
from gleitzeit_nb.sandbox.jail.identity import count_tasks, pick_unallocated_id
from gleitzeit_nb.sandbox.jail.interpreter import running_interpreter
from gleitzeit_nb.sandbox.jail.process import BEFORE, GuestProcess, Namespace, Telling, at_once, signal_process, start_process

KIND = "restricted"
SWITCHES = ("kernel/apparmor_restrict_unprivileged_userns", "kernel/unprivileged_userns_clone", "user/max_user_namespaces")
SPARE_TASKS = 128  # without a user namespace RLIMIT_NPROC counts this user's other programs too, and they may start more
CLAIMS = 8

Survey = Callable[[], Awaitable[Facts]]
Claim = tuple[int, "Cgroup | None"]  # the user to run as, and its group


class RestrictedLauncher:
    """A `Launcher`. `survey` replaces the look at this machine (tests force the weaker form with it); `rng` picks users and cores."""

    def __init__(self, *, survey: Survey | None = None, rng: random.Random | None = None) -> None:
        self._survey = survey or self.survey
        self._rng = rng or random.Random()
        self._chosen: dict[bool, Confinement] = {}
        self._guests: set[GuestProcess] = set()

    def __repr__(self) -> str:
        return f"<RestrictedLauncher {', '.join(each.isolation for each in self._chosen.values()) or 'not looked yet'}>"

    # -- Launcher -------------------------------------------------------------------------------------------------------------

    async def check(self, mode: ModeSettings) -> str:
        confinement = await self._confinement(mode)
        return f"{confinement.isolation}; weaker: {confinement.weaker}" if confinement.weaker else confinement.isolation

    async def launch(self, mode: ModeSettings, limits: Limits, image: str | None) -> GuestChannel:
        if image is not None:
            raise ConfigError(f"The mode {mode.id!r} runs this machine's own Python and has no images; {image!r} needs a docker mode.")
        return await self._start(await self._confinement(mode), mode, limits)

    async def aclose(self) -> None:
        await asyncio.gather(*(guest.kill() for guest in self._guests))
        self._guests.clear()

    # -- what can be had ------------------------------------------------------------------------------------------------------

    async def _confinement(self, mode: ModeSettings) -> Confinement:
        if mode.allow_weaker not in self._chosen:
            confinement = choose(await self._survey(), mode.allow_weaker)
            if confinement.bubblewrap is None:
                await self._try_out(confinement)
            self._chosen[mode.allow_weaker] = confinement
        return self._chosen[mode.allow_weaker]

    async def survey(self) -> Facts:
        """Look at this machine, down to a real start of the strong form."""
        _refuse_other_systems()
        bubblewrap, bubblewrap_problem = await asyncio.to_thread(find_bubblewrap)
        hierarchy, cgroup_problem = find_hierarchy()
        if hierarchy:
            await asyncio.to_thread(sweep, hierarchy)
        facts = Facts(
            root=os.geteuid() == 0,
            uid=os.geteuid(),
            bubblewrap=bubblewrap,
            bubblewrap_problem=bubblewrap_problem,
            jail_problem="",
            hint=namespace_hint({name: text for name in SWITCHES if (text := _switch(name))}),
            landlock_abi=landlock.abi_version(),
            cgroup=hierarchy,
            cgroup_problem=cgroup_problem,
        )
        if bubblewrap is None:
            return replace(facts, private_mounts=await _may_mount(facts.root))
        try:
            await self._try_out(choose(facts, allow_weaker=True))
        except SandboxUnavailableError as error:
            return replace(facts, jail_problem=str(error).rpartition(BEFORE)[2], private_mounts=await _may_mount(facts.root))
        return facts

    async def _try_out(self, confinement: Confinement) -> None:
        guest = await self._start(confinement, ModeSettings(KIND, "restricted", "Restricted"), Limits())
        await guest.kill()
        self._guests.discard(guest)

    # -- starting a guest -----------------------------------------------------------------------------------------------------

    async def _start(self, confinement: Confinement, mode: ModeSettings, limits: Limits) -> GuestProcess:
        claiming = asyncio.ensure_future(asyncio.to_thread(self._claim, confinement, limits))
        start = self._start_weaker if confinement.bubblewrap is None else self._start_jailed
        try:
            guest = await start(confinement, mode, limits, claiming)
        except BaseException:
            await _release(claiming)
            raise
        self._guests = {each for each in self._guests if not each.ended} | {guest}
        return guest

    def _claim(self, confinement: Confinement, limits: Limits) -> Claim:
        """The group's name holds the user, so that no two guests get the same."""
        try:
            for _ in range(CLAIMS):
                uid = pick_unallocated_id(self._rng) if confinement.root else confinement.uid
                if confinement.cgroup is None:
                    return uid, None
                serial = "" if confinement.root else f"-{self._rng.getrandbits(32):08x}"
                try:
                    return uid, Cgroup.make(confinement.cgroup, group_name(uid) + serial, limits)
                except FileExistsError:
                    continue
        except (OSError, RuntimeError) as error:
            raise SandboxUnavailableError(f"no user and cgroup could be made for a restricted guest: {error}") from error
        raise SandboxUnavailableError(f"no free cgroup name was found for a restricted guest in {CLAIMS} tries")

    async def _start_jailed(
        self, confinement: Confinement, mode: ModeSettings, limits: Limits, claiming: asyncio.Future[Claim]
    ) -> GuestProcess:
        assert confinement.bubblewrap is not None
        interpreter = running_interpreter()
        folders = staged_folders(limits, interpreter) if confinement.root else folders_in_jail(limits)
        doors = Doors(
            limits=resource_limits(limits, await _process_limit(confinement, limits, counted_apart=bool(confinement.landlock_abi))),
            address_space=None if confinement.cgroup else limits.memory_bytes,
            affinity=self._pin(confinement, limits),
            landlock=ruleset_in_jail(confinement.landlock_abi, interpreter),
        )
        doors = replace(doors, filters=(bpf.refusal_filter(_after_the_preamble(doors), os.uname().machine),))
        environment = guest_environment(mode, limits, interpreter.executable, WORK_DIR, "/tmp")
        program = guest_program(interpreter.executable, WORK_DIR, WRITABLE_DIRS, doors)
        allowed = bpf.load_profile().allowing(bpf.LANDLOCK_CALLS)
        seccomp = _in_memory(bpf.compile_profile(allowed, os.uname().machine))
        arguments = _in_memory(b"".join(os.fsencode(word) + b"\0" for word in describe_jail(interpreter, folders, environment, seccomp)))
        try:
            command = (confinement.bubblewrap.path, "--args", str(arguments), "--", *program)
            if confinement.root or confinement.cgroup:
                reachable = must_be_reachable(interpreter, confinement.bubblewrap)
                mounts = (lambda uid: (reachable, stage_mounts(folders, limits, uid))) if confinement.root else None
                pipes = await start_process(jail_command(), {}, (arguments, seccomp), _telling(command, claiming, mounts))
            else:
                await asyncio.shield(claiming)
                pipes = await start_process(command, {}, (arguments, seccomp))
            uid, cgroup = claiming.result()
        finally:
            os.close(arguments)
            os.close(seccomp)
        expectations = Expectations(
            pid=1,
            uid=uid,
            capabilities_bounding=0,
            no_new_privs=True,
            seccomp=True,
            read_only_root=True,
            interfaces=("lo",),
            own_network=True,
            weaker=confinement.weaker,
            own_python=True,
        )
        return GuestProcess(pipes, KIND, expectations, Namespace(pipes).strike, cgroup)

    async def _start_weaker(
        self, confinement: Confinement, mode: ModeSettings, limits: Limits, claiming: asyncio.Future[Claim]
    ) -> GuestProcess:
        uid, cgroup = await asyncio.shield(claiming)
        interpreter = running_interpreter()
        python = sys.executable
        if confinement.root and not confinement.private_mounts:
            refuse_unreachable(must_be_reachable(interpreter, None))
        directory = make_work_directory(uid, confinement.root)
        doors = Doors(
            limits=resource_limits(limits, await _process_limit(confinement, limits, counted_apart=False)),
            address_space=None if cgroup else limits.memory_bytes,
            affinity=self._pin(confinement, limits),
            landlock=ruleset_without_namespaces(confinement.landlock_abi, interpreter, directory),
            supervised=True,
            oom_score_adj=1000,
        )
        profile = bpf.load_profile().without_namespaces(shares_user=not confinement.root)
        doors = replace(doors, filters=(bpf.compile_profile(profile, os.uname().machine),))
        mounts = None
        if confinement.root and confinement.private_mounts:
            options = tmpfs_options(limits.workspace_bytes, limits.workspace_inodes, uid)
            mounts = (must_be_reachable(interpreter, None), [(directory, options)])
        jail = Jail(
            program=guest_program(python, directory, (directory,), doors),
            cgroup=cgroup.entrances if cgroup else (),
            mounts=mounts,
            user=(uid, uid) if confinement.root else None,
            supervise=True,
            directory=directory,
            file=interpreter.file,  # a virtual environment is found by its link's path, which is the first word
        )
        try:
            environment = guest_environment(mode, limits, python, directory, directory)
            pipes = await start_process(jail_command(), environment, tell=at_once(jail_message(jail)))
        except BaseException:
            await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)  # the supervisor has, unless it never came so far
            raise
        expectations = Expectations(uid=uid, no_new_privs=True, seccomp=True, weaker=confinement.weaker, own_python=True)
        return GuestProcess(pipes, KIND, expectations, lambda: signal_process(pipes, signal.SIGTERM), cgroup)

    def _pin(self, confinement: Confinement, limits: Limits) -> tuple[int, ...]:
        """The cores to stay on where no cgroup shares out the CPU; () when these are all anyway."""
        cores = sorted(os.sched_getaffinity(0))
        wanted = whole_cpus(limits)
        if wanted >= len(cores) or (confinement.cgroup and confinement.cgroup.cpu):
            return ()
        return tuple(sorted(self._rng.sample(cores, wanted)))


def _telling(program: Sequence[str], claiming: asyncio.Future[Claim], mounts: Callable[[int], Mounts] | None) -> Telling:
    """What `entry` is told: who to become and where to go, as soon as both are found. `mounts` for that user, as root."""

    async def tell(pid: int) -> bytes:
        uid, cgroup = await asyncio.shield(claiming)
        if cgroup is not None:
            asyncio.get_running_loop().run_in_executor(None, cgroup.take_in, pid)
        entrances = cgroup.entrances if cgroup else ()
        return jail_message(Jail(program, entrances, mounts and mounts(uid), (uid, uid) if mounts else None))

    return tell


async def _release(claiming: asyncio.Future[Claim]) -> None:
    """Take away what was claimed, or is about to be: the thread goes on, whatever became of who waits for it."""
    await asyncio.wait((claiming,))
    if claiming.exception() is None:
        cgroup = claiming.result()[1]
        if cgroup is not None:
            await cgroup.remove()


def _after_the_preamble(doors: Doors) -> tuple[str, ...]:
    """What the preamble still needed and the guest must not have."""
    return (*bpf.LANDLOCK_CALLS, *(bpf.SCHEDULER_CALLS if doors.affinity else ()))


async def _process_limit(confinement: Confinement, limits: Limits, *, counted_apart: bool) -> int:
    """`counted_apart`: in a user namespace, by kernels from 5.14 on, which landlock's presence (5.13) stands for well enough."""
    if confinement.root or counted_apart:
        return limits.pids
    return await asyncio.to_thread(count_tasks, confinement.uid) + limits.pids + SPARE_TASKS


def _in_memory(content: bytes) -> int:
    """A descriptor from which `content` can be read once."""
    fd = os.memfd_create("gleitzeit")
    with open(fd, "wb", closefd=False) as file:
        file.write(content)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


async def _may_mount(root: bool) -> bool:
    """Can root have a mount namespace of its own? Not in most containers."""
    if not root:
        return False
    probe = Jail(program=[sys.executable, "-I", "-S", "-c", "import os; os.write(2, b'ready\\n')"], mounts=((), ()))
    try:
        pipes = await start_process(jail_command(), {}, tell=at_once(jail_message(probe)))
    except SandboxUnavailableError:
        return False
    pipes.transport.close()
    return True


def _switch(name: str) -> str:
    try:
        return Path("/proc/sys", name).read_text("ascii").strip()
    except OSError:
        return ""


def _refuse_other_systems() -> None:
    system = os.uname()
    if sys.platform != "linux":
        raise SandboxUnavailableError(f"Restricted mode is enforced by the Linux kernel, and this is {system.sysname}. Use docker-sandbox.")
    if system.machine not in bpf.AUDIT_ARCH:
        raise SandboxUnavailableError(
            f"Restricted mode knows the system calls of {' and '.join(bpf.AUDIT_ARCH)}, not of {system.machine}. Use docker-sandbox."
        )
