"""The sandbox over all modes: a request in, a worker borrowed, a result out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypedDict

from gleitzeit_nb.config import run_limits, sandbox_settings
from gleitzeit_nb.core.execution import (
    AUTO_MODE,
    UNNAMED,
    ExecutionRequest,
    ExecutionResult,
    Limits,
    ModeKind,
    ModeSettings,
    SandboxSettings,
    Timings,
)
from gleitzeit_nb.core.places import Outcome
from gleitzeit_nb.errors import (
    ConfigError,
    EngineClosedError,
    ImageMissingError,
    SandboxProtocolError,
    SandboxUnavailableError,
    TransferError,
    WrongLoopError,
)
from gleitzeit_nb.events import EventBus, RunEnded
from gleitzeit_nb.protocols import DisplaySink, OutputSink
from gleitzeit_nb.sandbox import files
from gleitzeit_nb.sandbox.channel import Launcher
from gleitzeit_nb.sandbox.equipment import refuse_unfitting
from gleitzeit_nb.sandbox.images.shelf import LayerShelf
from gleitzeit_nb.sandbox.modes import Launchers, Modes
from gleitzeit_nb.sandbox.network import Gateway, policy_for, run_network
from gleitzeit_nb.sandbox.pool import WorkerPool
from gleitzeit_nb.sandbox.request import RunOptions, check_session, make_request
from gleitzeit_nb.sandbox.running import Run, Runs, telling
from gleitzeit_nb.sandbox.sanity import refuse_nonsense
from gleitzeit_nb.sandbox.security import SecurityLog
from gleitzeit_nb.sandbox.sessions import Sessions
from gleitzeit_nb.sandbox.volumes import VolumeKeeper, hinted
from gleitzeit_nb.sandbox.worker import Lease
from gleitzeit_nb.snapshot import ContainerView, ModeView, RunView, SecurityView, SessionView

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack


class _Wanted(TypedDict):
    image: str | None
    fresh: bool
    caller: str


@dataclass(frozen=True)
class _Heard:
    """Who hears what a run says while it goes on."""

    on_output: OutputSink | None
    on_display: DisplaySink | None
    on_progress: Callable[[str], None] | None


class Sandbox:
    """Runs untrusted code. User code that fails is a result; a sandbox that fails raises SandboxError. Lives on one event loop.

    `settings`: SandboxSettings, or a dictionary with the keys of the configuration's python section.
    """

    def __init__(
        self,
        settings: SandboxSettings | Mapping[str, Any] | None = None,
        *,
        events: EventBus | None = None,
        launchers: Mapping[ModeKind, Launcher] | None = None,
        gateway: Gateway | None = None,
    ) -> None:
        self.settings = settings if isinstance(settings, SandboxSettings) else sandbox_settings(settings)
        self.events = events or EventBus()
        self._security = SecurityLog(self.events)
        self._launchers = Launchers(launchers)
        self._modes = Modes(self.settings, self._launchers)
        self._pool = WorkerPool(self._launchers.of, self.settings.container_pool, self.events)
        self._gateway = gateway or Gateway()
        self._volumes = VolumeKeeper(self.settings)
        self._sessions = Sessions(self._pool, self.events)
        self._layers = LayerShelf(self.settings.wheelhouse)
        self._runs = Runs(self._pool.state_of)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    def __repr__(self) -> str:
        state = "closed" if self._closed else "started" if self._loop else "not started"
        return f"<Sandbox {state}, {len(self._runs)} runs, {self._pool!r}>"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Bind to this loop. Nothing is launched, and a missing daemon is no error, until something is to be run."""
        if self._closed:
            raise EngineClosedError("this sandbox was closed: make a new one")
        self._loop = self._loop or asyncio.get_running_loop()

    async def close(self) -> None:
        """Kill every guest. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        await self._sessions.close()
        await self._pool.close()
        await self._launchers.aclose()
        self._layers.close()

    # -- running ----------------------------------------------------------------------------------------------------------

    async def execute(
        self,
        code: str | ExecutionRequest,
        mode: str | None = None,
        *,
        on_output: OutputSink | None = None,
        on_display: DisplaySink | None = None,
        on_progress: Callable[[str], None] | None = None,
        **options: Unpack[RunOptions],
    ) -> ExecutionResult:
        """Run code, or a request made before (then without other arguments), in `mode` (default: the configured one).

        `on_progress` gets a line per stage while an image with the run's requirements is made.
        Raises ConfigError, ModeDisabledError, ImageMissingError, SandboxUnavailableError, SandboxProtocolError or TransferError when
        it was not run or its guest cannot be trusted. Cancelling the caller kills the run.
        """
        self._require_open()
        if isinstance(code, ExecutionRequest):
            if mode is not None or options:
                raise TypeError("a request carries its own mode and options")
            return await self._execute(code, {}, on_output, on_display, on_progress)
        request, own = make_request(code, mode, options)
        return await self._execute(request, own, on_output, on_display, on_progress)

    async def run(self, request: ExecutionRequest, on_output: OutputSink | None = None) -> ExecutionResult:
        """The `Executor` protocol: `execute` for a request."""
        return await self.execute(request, on_output=on_output)

    def cancel(self, request_id: str, why: str = "stopped") -> bool:
        """End a run; its result will be "killed", with what it had printed. False when there is none of that id."""
        return self._runs.cancel(request_id, why)

    async def stop_container(self, container: str, why: str = "its container was stopped") -> bool:
        """Remove a container or guest process: the run in it ends as killed, and a session's variables are gone. False: no such one."""
        self._require_open()
        session = self._sessions.of_container(container)
        if session is not None:
            return await self.reset_session(session, why)
        run = self._runs.in_container(container)
        if run is not None:
            run.cancel(why)  # whose worker is discarded with it
            return True
        return await self._pool.stop(container)

    async def look_again(self) -> None:
        """Find out anew which modes can be had, and make new workers: runs and sessions go on."""
        self._require_open()
        self._modes.forget()
        await self._pool.cleanup_idle(0.0)

    async def cleanup_idle_containers(self, idle_s: float | None = None) -> int:
        """Remove the workers that were idle for `idle_s` (default: the configured time); how many there were."""
        self._require_open()
        return await self._pool.cleanup_idle(idle_s)

    async def reset_session(self, name: str, why: str = "its session was reset") -> bool:
        """End a session, also in the middle of a run: its variables are gone. False when there is none of that name."""
        self._require_open()
        for run in self._runs.in_session(name):
            run.cancel(why)
        return await self._sessions.reset(name)

    async def warm(self, mode: str | None = None) -> str:
        """Have the workers that are kept ready for `mode` (default: the configured one) made; returns the mode when they are there."""
        self._require_open()
        found = self._modes.find(mode or (await self.resolve_default())[0])
        await self._modes.check(found.id)
        self._pool.keep_ready(await self._equipped(found))
        await self._pool.settled()
        return found.id

    async def _execute(
        self,
        request: ExecutionRequest,
        own: Mapping[str, Any],
        on_output: OutputSink | None,
        on_display: DisplaySink | None,
        on_progress: Callable[[str], None] | None,
    ) -> ExecutionResult:
        refuse_nonsense(request)
        check_session(request)
        base = request.image  # before a session adds its own, which has the requirements already
        request = self._sessions.continued(replace(request, mode=request.mode if request.mode != AUTO_MODE else None), self._modes)
        mode = self._modes.find((await self.resolve_default())[0] if request.mode is None else request.mode)
        with self._runs.going_on(Run(request, mode, time.monotonic())) as run:
            try:
                result = await self._go(run, base, own, _Heard(on_output, on_display, on_progress))
            except (SandboxUnavailableError, ImageMissingError) as exc:
                if not (request.image or request.requirements or request.volumes or request.gpu):
                    self._modes.note(mode.id, exc)  # what this one run named says nothing about the mode
                raise
        refused = sum(each.count for each in result.network if each.outcome == "refused")
        moved = sum(each.bytes_sent + each.bytes_received for each in result.network)
        self.events.emit(RunEnded(time.time(), mode.id, request.id, result.status, refused, moved, result.exit_code))
        return result

    async def _go(self, run: Run, base: str | None, own: Mapping[str, Any], heard: _Heard) -> ExecutionResult:
        """Everything that may take time: the image, the files, the worker, the run."""
        request, mode = run.request, run.mode
        if request.requirements:
            making = self._layers.image_for(mode, base, request.requirements, telling(run, heard.on_progress))
            image = await run.come_by(making, lambda _: None)
            if image is None:
                return run.killed()
            request, run.stage = replace(request, image=image), ""
        mode = self._sessions.kept_mode(request, await self._equipped(mode, request))
        limits = run_limits(request.limits or mode.limits, mode.ceiling, mode.id, own)
        contents = await asyncio.to_thread(files.read, request.files, limits) if request.files else {}
        run.request = request = replace(request, mode=mode.id, limits=limits, files=contents)
        run.mode, run.policy = mode, policy_for(mode, request)
        enter = self._in_worker if request.session is None else self._in_session
        return await enter(run, limits, heard)

    async def _equipped(self, mode: ModeSettings, request: ExecutionRequest | None = None) -> ModeSettings:
        """The mode with what the request wants beside it, and with volumes that were found. Raises ConfigError."""
        if request is not None and (request.volumes or request.gpu):
            mode = replace(mode, volumes=mode.volumes + request.volumes, gpu=mode.gpu or request.gpu)
            refuse_unfitting(mode)
        if not mode.volumes:
            return mode
        return replace(mode, volumes=await asyncio.to_thread(self._volumes.find, mode.volumes))

    async def _in_worker(self, run: Run, limits: Limits, heard: _Heard) -> ExecutionResult:
        lease = await self._lease(run, limits)
        if lease is None:
            return run.killed()
        worker = lease.worker
        run.connection = worker.connection
        outcome: Outcome | None = "killed"
        try:
            self._modes.verdicts[run.mode.id] = (True, worker.isolation)
            network = run_network(run.policy, self._gateway, self.events, run.mode.id, run.request.id)
            result = await worker.connection.run(run.request, limits, heard.on_output, run.mode.allowed_modules, heard.on_display, network)
            outcome = result.status
        except (TransferError, ConfigError):
            outcome = None  # nothing was sent
            raise
        except SandboxProtocolError:
            outcome = "protocol"
            raise
        finally:
            lease.end(outcome)
        return replace(
            hinted(result, run.mode),
            timings=Timings(lease.queue_s, lease.start_s, result.timings.run_s),
            isolation=_isolation(worker.isolation, result.isolation),
            cold=lease.cold,
        )

    async def _in_session(self, run: Run, limits: Limits, heard: _Heard) -> ExecutionResult:
        session = await run.come_by(self._sessions.enter(run.request, run.mode, limits), self._sessions.leave)
        if session is None or session.worker is None:
            return run.killed()
        worker = session.worker
        run.connection = worker.connection
        self._modes.verdicts[run.mode.id] = (True, worker.isolation)
        request = run.request
        if request.filename == UNNAMED:  # a traceback shall name the run in which a function was defined
            request = replace(request, filename=f"<{session.name}, run {session.runs + 1}>")
        network = run_network(run.policy, self._gateway, self.events, run.mode.id, run.request.id)
        result = await self._sessions.run(
            session, lambda guest: guest.run(request, limits, heard.on_output, run.mode.allowed_modules, heard.on_display, network)
        )
        return replace(hinted(result, run.mode), isolation=_isolation(worker.isolation, result.isolation))

    async def _lease(self, run: Run, limits: Limits) -> Lease | None:
        """A worker that is alive; None when the run was cancelled while it waited."""
        request = run.request
        wanted: _Wanted = {"image": request.image, "fresh": request.fresh, "caller": request.label}
        while True:
            lease = self._pool.lease_at_once(run.mode, limits, **wanted)
            if lease is None:
                lease = await run.come_by(self._pool.lease(run.mode, limits, tag=request.id, **wanted), Lease.end)
            if lease is None or lease.worker.connection.usable:
                return lease
            lease.end()  # it died between its choice and now; nothing was sent to it

    # -- what there is ----------------------------------------------------------------------------------------------------

    def require_mode(self, mode: str) -> None:
        """Raises ConfigError for a mode that does not exist, ModeDisabledError for one that is switched off."""
        if mode != AUTO_MODE:
            self._modes.find(mode)

    async def check(self, mode: str) -> str:
        """One line on what the mode runs with here. Raises SandboxError (or ConfigError) when it cannot be had."""
        self._require_open()
        await self._equipped(self._modes.find(mode))
        return await self._modes.check(mode)

    async def resolve_default(self) -> tuple[str, str]:
        """(mode, why) of a run that names none; settled once. Raises SandboxUnavailableError when there is no isolation to be had."""
        self._require_open()
        return await self._modes.resolve_default()

    @property
    def default_mode(self) -> str:
        """What a run without a mode gets; "" while `auto` is not resolved."""
        return self._modes.default

    def describe(self, request_id: str) -> str:
        """Where a run stands, in one line: "queued 3rd", "starting, 1 s", "running, 4 s"; "" when it does not go on."""
        return self._runs.describe(request_id)

    def mode_views(self) -> tuple[ModeView, ...]:
        most, pool = self.settings.container_pool.max_containers, self._pool
        return tuple(self._modes.view(mode, pool.counts(mode.id), most, pool.weaker(mode.id)) for mode in self.settings.modes.values())

    def security_view(self) -> SecurityView:
        return self._security.view()

    def session_views(self) -> tuple[SessionView, ...]:
        return self._sessions.views()

    def container_views(self) -> tuple[ContainerView, ...]:
        """Those of sessions too."""
        runs = self._runs.by_container()
        return tuple(replace(each, run=runs.get(each.id, "")) for each in self._pool.views() + self._sessions.container_views())

    def run_views(self) -> tuple[RunView, ...]:
        return self._runs.views()

    def _require_open(self) -> None:
        if self._closed or self._loop is None:
            raise EngineClosedError("the sandbox is not running: use `async with Sandbox() as sandbox`, or await its start() first")
        if self._loop is not asyncio.get_running_loop():
            raise WrongLoopError("this sandbox lives on the event loop that started it; make another one for this loop")


def _isolation(line: str, weaker: str) -> str:
    return line if weaker in line else f"{line}; weaker: {weaker}"
