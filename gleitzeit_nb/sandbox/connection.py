"""One guest, spoken to: the handshake, one run at a time, and the host's half of every limit."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from gleitzeit_nb.core.execution import MIB, ExecutionRequest, ExecutionResult, Limits, Timings, Usage
from gleitzeit_nb.core.plain import one_line
from gleitzeit_nb.errors import ConfigError, SandboxProtocolError, SandboxUnavailableError
from gleitzeit_nb.protocols import DisplaySink, OutputSink
from gleitzeit_nb.sandbox import protocol
from gleitzeit_nb.sandbox.arriving import Arrivals
from gleitzeit_nb.sandbox.bundle import guest_code, guest_source
from gleitzeit_nb.sandbox.channel import GuestChannel, PeakCounting
from gleitzeit_nb.sandbox.judge import Ending, judge, mismatches, unusable
from gleitzeit_nb.sandbox.network import RunNetwork
from gleitzeit_nb.sandbox.protocol import FrameError, FrameReader
from gleitzeit_nb.sandbox.sending import INTERRUPT_S, run_header, run_messages
from gleitzeit_nb.sandbox.values import Report

logger = logging.getLogger("gleitzeit_nb.sandbox")

OPEN_S = 30.0  # from the source to the guest's first frame; a busy machine needs seconds
PRELOAD_S = 60.0  # … and this much longer where it imports modules first
GRACE_S = 3.0  # the guest keeps the deadline itself; this much later the host does
CANCEL_S = 0.4  # the guest ends a cancelled run at once; this much later the host kills the guest
TRANSFER_BYTES_PER_S = 8 * MIB  # inputs and outputs may take their time beside the run

StreamName = Literal["stdout", "stderr"]


class GuestConnection:
    """Lives on the loop that opened it. `on_closed` is called once, when the guest has gone for whatever reason."""

    def __init__(self, channel: GuestChannel, on_closed: Callable[[], None] | None = None) -> None:
        self.channel = channel
        self.facts: dict[str, Any] = {}
        self.closed = False
        self.problem = ""  # why the guest must not be used again
        self.session_alive = False  # after a run of a session: its process is there for the next one
        self._on_closed = on_closed
        self._frames = FrameReader(protocol.FROM_GUEST)
        self._ready: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._run: Arrivals | None = None
        self._oom_kills = 0
        self._pump: asyncio.Task[None] | None = None
        self._kill: asyncio.Task[None] | None = None
        self._writing = asyncio.Lock()  # invariant: a message goes to the guest whole before the next one begins

    def __repr__(self) -> str:
        state = "closed" if self.closed else "running" if self._run else "idle" if self.facts else "opening"
        return f"<GuestConnection {self.channel.name} {state}{': ' + self.problem if self.problem else ''}>"

    @property
    def usable(self) -> bool:
        """May it take another run?"""
        return bool(self.facts) and not (self.closed or self.problem or self._run)

    async def open(self, timeout_s: float = OPEN_S) -> None:
        """Send the guest its source, and refuse it unless it is isolated as promised. Kills it when anything is wrong.

        Raises SandboxProtocolError, or SandboxUnavailableError when it cannot import what it should preload.
        """
        preload = self.channel.expectations.preload
        timeout_s += PRELOAD_S if preload else 0.0
        self._pump = asyncio.create_task(self._read(), name=f"gleitzeit-guest-{self.channel.name}")
        try:
            await self.channel.write(guest_code() if self.channel.expectations.own_python else guest_source())
            facts = await asyncio.wait_for(asyncio.shield(self._ready), timeout_s)
            wrong = mismatches(self.channel.expectations, facts)
            if wrong:
                raise SandboxProtocolError(
                    f"The sandbox {self.channel.name} is not isolated as promised, so nothing was run in it: {'; '.join(wrong)}.\n"
                    "Something between this process and the kernel ignores a security setting: see `%gleitzeit doctor`."
                )
            forbidden = unusable(self.channel.expectations.mounts, facts.get("mounts") or {})
            if forbidden:
                raise SandboxUnavailableError(forbidden)
            if facts.get("preload_failed") or (preload and facts.get("preloaded") != list(preload)):
                raise _not_preloaded(preload, facts)
            self._oom_kills = await self.channel.oom_kills()
        except asyncio.TimeoutError as exc:
            await self.close()
            doing = f", while it was to import {', '.join(preload)}," if preload else ""
            raise SandboxProtocolError(
                f"The guest in {self.channel.name} did not answer within {timeout_s:g} s{doing} and was killed."
            ) from exc
        except BaseException:
            await self.close()
            raise
        self.facts = facts

    async def run(
        self,
        request: ExecutionRequest,
        limits: Limits,
        on_output: OutputSink | None = None,
        allowed_modules: Sequence[str] | None = None,
        on_display: DisplaySink | None = None,
        network: RunNetwork | None = None,
    ) -> ExecutionResult:
        """Run `request` and say how it ended. A guest that goes away is a result too ("lost").

        Raises TransferError, before anything runs, for what cannot be sent, ConfigError for a network that cannot be had here, and
        SandboxProtocolError when the guest broke the protocol. Cancelling the caller kills the guest.
        """
        if not self.usable:
            raise SandboxProtocolError(f"The guest in {self.channel.name} cannot take a run now ({self!r}).")
        header = run_header(request, limits)
        header["allowed_modules"] = None if allowed_modules is None else list(allowed_modules)
        if network is not None:
            header["network"] = self._begin(network)
        messages = run_messages(header, request, limits, self.facts.get("packages", ()), self.channel.expectations.own_python)
        run = self._run = Arrivals(request, limits, on_output, on_display)
        run.network = network
        if isinstance(self.channel, PeakCounting):
            self.channel.begin_peak()
        started = time.monotonic()
        deadline: asyncio.TimerHandle | None = None
        try:
            allowance = (sum(map(len, messages)) + len(request.outputs) * limits.value_bytes) / TRANSFER_BYTES_PER_S
            allowance += limits.workspace_bytes / TRANSFER_BYTES_PER_S if request.artifacts else 0.0
            # A timer, not a task that is waited for: three passes of the loop less on the way of every run.
            deadline = asyncio.get_running_loop().call_later(limits.timeout_s + GRACE_S + allowance, self._too_late, run)
            ending = await self._exchange(run, messages)
            oom_kills = await self._new_oom_kills()
        except BaseException:
            self._give_up("the run was left before its end")
            raise
        finally:
            if deadline is not None:
                deadline.cancel()
            self._run = None
            run.peak_bytes = self.channel.peak_bytes() if isinstance(self.channel, PeakCounting) else None
            if network is not None:
                await network.close()
        return self._result(run, ending, oom_kills, time.monotonic() - started)

    def cancel(self, why: str = "") -> None:
        """Ask for the end of the current run; its result will be "killed", because of `why`. A guest that does not obey is killed."""
        run = self._run
        if run is None or run.cancelled:
            return
        run.cancelled, run.why = True, why
        run.cancelling = asyncio.create_task(self._cancel(run))

    async def close(self) -> None:
        """Kill the guest. Idempotent."""
        await self._kill_now()
        if self._pump is not None:
            await asyncio.wait({self._pump}, timeout=1.0)
            self._pump.cancel()

    def _begin(self, network: RunNetwork) -> dict[str, Any]:
        if not self.channel.expectations.own_network:
            raise ConfigError(
                f"{self.channel.name} can have no restricted network: it has no loopback of its own ({self.channel.expectations.weaker}).\n"
                "Run it in docker-sandbox, or in restricted mode where user namespaces can be had."
            )
        network.start(self._send)
        return network.header()

    # -- talking ----------------------------------------------------------------------------------------------------------

    async def _exchange(self, run: Arrivals, messages: list[bytes]) -> Ending | None:
        try:
            for message in messages:
                await self._send(message)
        except SandboxProtocolError:
            if not self.closed:  # the reader learns of the end too, and knows more about it
                await asyncio.wait({run.done}, timeout=1.0)
            if not run.done.done():
                return None
        return await run.done

    async def _send(self, message: bytes) -> None:
        async with self._writing:
            await self.channel.write(message)

    async def _cancel(self, run: Arrivals) -> None:
        try:
            await asyncio.wait_for(self._send(protocol.frame(protocol.CANCEL)), CANCEL_S)
            await asyncio.wait({run.done}, timeout=CANCEL_S + (INTERRUPT_S if run.request.session else 0.0))
        except (SandboxProtocolError, asyncio.TimeoutError):
            logger.debug("the guest in %s could not be told to stop", self.channel.name)
        if not run.done.done():
            await self._kill_now()

    async def _read(self) -> None:
        """The only reader: frames to whoever waits for them, until the guest has gone."""
        try:
            while data := await self.channel.read():
                for kind, payload in self._frames.feed(data):
                    self._dispatch(kind, payload)
        except (FrameError, SandboxProtocolError) as exc:
            self.problem = self.problem or str(exc)
            self._fail(SandboxProtocolError(f"The guest in {self.channel.name} was given up: {exc}"))
        finally:
            self._gone()

    def _dispatch(self, kind: bytes, payload: bytes) -> None:
        if kind == protocol.READY and not self._ready.done():
            self._ready.set_result(protocol.json_payload(payload))
        elif self._run is None or self._run.done.done():
            raise FrameError(f"it sent a frame of type {kind!r} while nothing ran")
        elif kind == protocol.EXIT:
            ending = Ending.of(protocol.json_payload(payload))
            self.session_alive = ending.alive
            if not ending.clean:
                self.problem = ending.fault or "it could not be cleaned after a run"
            self._run.done.set_result(ending)
        else:
            self._run.take(kind, payload)

    def _fail(self, error: SandboxProtocolError) -> None:
        run = self._run
        if run is not None and not run.done.done():
            run.done.set_exception(error)
        if not self._ready.done():
            self._ready.set_exception(error)
            self._ready.exception()  # whoever opened it may have left: no warning about an error that nobody asked for

    def _gone(self) -> None:
        self.closed = True
        if self._run is not None and not self._run.done.done():
            self._run.done.set_result(None)
        self._fail(_ended_early(self.channel.name, self.channel.expectations.preload))
        self._give_up(self.problem or "it has gone")
        on_closed, self._on_closed = self._on_closed, None
        if on_closed is not None:
            on_closed()

    def _give_up(self, problem: str) -> None:
        """Never again, and killed in the background."""
        self.problem = self.problem or problem
        self._killing()

    def _killing(self) -> asyncio.Task[None]:
        if self._kill is None:
            self._kill = asyncio.create_task(self.channel.kill())
        return self._kill

    def _too_late(self, run: Arrivals) -> None:
        run.late = True
        self._give_up("it did not keep the deadline")

    async def _kill_now(self) -> None:
        self.problem = self.problem or "it was killed"
        await asyncio.shield(self._killing())

    async def _new_oom_kills(self) -> int:
        before, self._oom_kills = self._oom_kills, max(self._oom_kills, await self.channel.oom_kills())
        return self._oom_kills - before

    def _result(self, run: Arrivals, ending: Ending | None, oom_kills: int, elapsed_s: float) -> ExecutionResult:
        report = run.report.finish() if ending is not None else Report()
        status, detail = judge(
            ending, run.limits, fault_type=report.fault_type, oom_kills=oom_kills, cancelled=run.cancelled, late=run.late
        )
        if status == "ok" and report.refused:
            status = "error"
            detail = "; ".join(f"{name!r} cannot be passed out: {reason}" for name, reason in report.refused.items())
        if status == "killed" and run.why:
            detail = f"{run.why} before its end"
        return ExecutionResult(
            status=status,
            mode=run.request.mode or "",
            stdout=run.stdout.end(),
            stderr=run.stderr.end(),
            exit_code=ending.exit_code if ending is not None else None,
            traceback=report.traceback,
            displays=tuple(run.displays.displays),
            displays_dropped=run.displays.dropped,
            outputs=report.outputs,
            artifacts=run.artifacts.finish(whole=ending is not None),
            left_out=run.artifacts.left_out,
            truncated={name: text.dropped for name, text in run.streams.items() if text.dropped},
            network=run.network.records() if run.network is not None else (),
            timings=Timings(run_s=ending.run_s if ending is not None and ending.run_s else elapsed_s),
            usage=_usage(ending, run.peak_bytes),
            container=self.channel.name,
            isolation=self.channel.expectations.weaker,
            detail=detail,
        )


def _usage(ending: Ending | None, peak_bytes: int | None) -> Usage | None:
    """The guest counts what ended; what everything inside used together, only the control group knows."""
    if ending is None or ending.cpu_s is None or ending.peak_bytes is None:
        return None
    return Usage(ending.cpu_s, ending.peak_bytes if peak_bytes is None else peak_bytes, whole=peak_bytes is not None)


def _ended_early(name: str, preload: Sequence[str]) -> SandboxProtocolError:
    doing = f", while it was to import {', '.join(preload)}" if preload else ""
    remedy = ", or take modules out of the mode's `preload`" if preload else ""
    return SandboxProtocolError(
        f"The guest in {name} ended before it could serve{doing}.\n"
        f"Most often its memory limit is too small for this image's Python: raise `memory_limit`{remedy}."
    )


def _not_preloaded(preload: Sequence[str], facts: Mapping[str, Any]) -> SandboxUnavailableError:
    why = one_line(str(facts.get("preload_failed")), 300) or "it did not say why"
    return SandboxUnavailableError(
        f"The sandbox could not import what it should have ready ({', '.join(preload)}), so nothing was run in it.\n"
        f"It failed at {why}\n"
        "Take the module out of the mode's `preload`, or choose an image that has it: `gleitzeit-nb images list` shows yours."
    )
