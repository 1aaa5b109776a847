"""The ways of running code: how strongly each holds, who launches its guests, and which one `auto` means here."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from gleitzeit_nb.core.execution import AUTO_MODE, DOCKER_MODE, RESTRICTED_MODE, ModeKind, ModeSettings, SandboxSettings
from gleitzeit_nb.errors import ConfigError, ModeDisabledError, SandboxError, SandboxUnavailableError, table
from gleitzeit_nb.sandbox.channel import Launcher
from gleitzeit_nb.snapshot import CountView, ModeView

if TYPE_CHECKING:
    from gleitzeit_nb.sandbox.pool import Counts

AUTO_ORDER = (DOCKER_MODE, RESTRICTED_MODE)  # strongest first; `local` holds nothing and is never a default
NO_ISOLATION = "no isolation"


def level_of(mode: ModeSettings) -> int:
    """1 local, 2 restricted, 3 docker-sandbox, 4 a container of the user's own."""
    if mode.kind == "docker":
        return 3 if mode.id == DOCKER_MODE else 4
    return 2 if mode.kind == "restricted" else 1


def named(mode: ModeSettings) -> str:
    """The mode where a view names it: with a mark on one that isolates nothing, whatever it is called."""
    return f"{mode.id} ({NO_ISOLATION})" if mode.kind == "local" else mode.id


class Launchers:
    """One launcher per kind, made when first needed: Docker's SDK is loaded only by who uses it."""

    def __init__(self, given: Mapping[ModeKind, Launcher] | None = None) -> None:
        self._made: dict[ModeKind, Launcher] = dict(given or {})

    def __repr__(self) -> str:
        return f"<Launchers {', '.join(self._made) or 'none yet'}>"

    def of(self, kind: ModeKind) -> Launcher:
        if kind not in self._made:
            self._made[kind] = _launcher(kind)
        return self._made[kind]

    async def aclose(self) -> None:
        made, self._made = self._made, {}
        await asyncio.gather(*(launcher.aclose() for launcher in made.values()))


def _launcher(kind: ModeKind) -> Launcher:
    if kind == "docker":
        from gleitzeit_nb.sandbox.docker import DockerLauncher

        return DockerLauncher()
    if kind == "restricted":
        from gleitzeit_nb.sandbox.restricted import RestrictedLauncher

        return RestrictedLauncher()
    from gleitzeit_nb.sandbox.local import LocalLauncher

    return LocalLauncher()


class Modes:
    """The configured modes and what was found out about them. `verdicts`: mode → (can it be had, one line on how or why not)."""

    def __init__(self, settings: SandboxSettings, launchers: Launchers) -> None:
        self.settings = settings
        self.verdicts: dict[str, tuple[bool, str]] = {}
        self._launchers = launchers
        self._default: tuple[str, str] | None = None

    def __repr__(self) -> str:
        return f"<Modes {', '.join(self.settings.modes)}; default {self.default or self.settings.default_mode}>"

    @property
    def default(self) -> str:
        """The mode that a run without a mode gets; "" while `auto` is not resolved."""
        if self._default is not None:
            return self._default[0]
        return "" if self.settings.default_mode == AUTO_MODE else self.settings.default_mode

    def forget(self) -> None:
        """What was found out, as at the start: something may have been started or stopped meanwhile."""
        self.verdicts.clear()
        self._default = None

    def find(self, mode_id: str) -> ModeSettings:
        """Raises ConfigError for a mode that does not exist and ModeDisabledError for one that is switched off."""
        mode = self.settings.modes.get(mode_id)
        if mode is None:
            near = difflib.get_close_matches(mode_id, self.settings.modes, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ConfigError(f"There is no mode {mode_id[:80]!r}.{hint} Modes: {', '.join(self.settings.modes)}.")
        if not mode.enabled:
            why = " It runs code on this machine without any isolation." if mode.kind == "local" else ""
            raise ModeDisabledError(f"The mode {mode_id!r} is switched off.{why} Configure `enabled: true` for it to use it.")
        return mode

    async def check(self, mode_id: str) -> str:
        """One line on what the mode runs with here. Raises SandboxError when it cannot be had."""
        mode = self.find(mode_id)
        try:
            line = await self._launchers.of(mode.kind).check(mode)
        except SandboxError as exc:
            self.note(mode_id, exc)
            raise
        self.verdicts[mode_id] = (True, line)
        return line

    def note(self, mode_id: str, error: SandboxError) -> None:
        """Remember why a mode cannot be had, for the views."""
        self.verdicts[mode_id] = (False, str(error).partition("\n")[0])

    async def resolve_default(self) -> tuple[str, str]:
        """(mode, why). `auto` is settled by the first success, for good; a refusal is not, since what it asks for may be started.

        A mode that is named is never replaced by another. Raises SandboxUnavailableError with every reason.
        """
        if self._default is not None:
            return self._default
        named = self.settings.default_mode
        found = (named, await self.check(named)) if named != AUTO_MODE else await self._strongest()
        if self._default is None:
            self._default = found
        return self._default

    async def _strongest(self) -> tuple[str, str]:
        reasons = []
        for mode_id in AUTO_ORDER:
            if mode_id not in self.settings.modes:
                continue
            try:
                return mode_id, await self.check(mode_id)
            except SandboxError as exc:
                reasons.append((mode_id, str(exc).replace("\n", "\n    ")))
        raise SandboxUnavailableError(
            "No sandbox can be had here, and untrusted code is never run without one. Each mode, and why not:" + table(reasons)
        )

    def view(self, mode: ModeSettings, counts: Counts, max_containers: int, weaker: str) -> ModeView:
        """`counts`, `weaker`: what its workers do now, and in what they hold less than the mode should."""
        available, line = self.verdicts.get(mode.id, (None, ""))
        note = line if available is False else ""
        if mode.kind == "local":
            note = NO_ISOLATION
        if not mode.enabled:
            note = "disabled"
        return ModeView(
            id=mode.id,
            label=mode.label,
            level=level_of(mode),
            enabled=mode.enabled,
            available=available,
            active=counts.active,
            queued=counts.queued,
            containers=counts.containers,
            max_containers=max_containers,
            memory_bytes=counts.memory_bytes,
            note=note or weaker,
            outcomes=tuple(CountView(*each) for each in sorted(counts.outcomes.items())),
            discards=tuple(CountView(*each) for each in sorted(counts.discards.items())),
        )
