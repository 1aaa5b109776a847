"""A whole self-check: every mode that is asked for, and every weakening if wanted, on this machine's own daemon and kernel."""

from __future__ import annotations

import platform
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING

from gleitzeit_nb.config import planted_variable
from gleitzeit_nb.core.execution import ModeKind, ModeSettings, SandboxSettings
from gleitzeit_nb.errors import SandboxError, UsageError
from gleitzeit_nb.sandbox import Sandbox, images
from gleitzeit_nb.sandbox.channel import Launcher
from gleitzeit_nb.sandbox.daemon import DockerDaemon
from gleitzeit_nb.sandbox.network import Gateway
from gleitzeit_nb.sandbox.selfcheck.catalogue import AREAS, CHECKS
from gleitzeit_nb.sandbox.selfcheck.check import Check, Subject
from gleitzeit_nb.sandbox.selfcheck.examination import CHECK_S, Outcome, examine
from gleitzeit_nb.sandbox.selfcheck.probing import SECRET, SECRET_NAME
from gleitzeit_nb.sandbox.selfcheck.report import ModeReport, Report, WeakenedReport
from gleitzeit_nb.sandbox.selfcheck.subjects import ModeExecute, look_at, still_answers
from gleitzeit_nb.sandbox.selfcheck.volumes import with_volume_root

if TYPE_CHECKING:
    from docker import APIClient

Progress = Callable[[str, int, int], None]  # what is looked at, how much of it is done, of how much


@dataclass(frozen=True)
class Wanted:
    """`modes` () stands for every mode that is switched on and isolates; `only` () for every check. Names are checked when made."""

    modes: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    fresh: bool = False
    weaken: bool = False
    limit_s: float = CHECK_S

    def checks(self) -> tuple[Check, ...]:
        """Raises UsageError for a name that is neither an area's nor a check's."""
        chosen: list[Check] = []
        for name in self.only:
            found = [check for check in CHECKS if _plain(name) in (_plain(check.area), _plain(check.name))]
            if not found:
                near = get_close_matches(name, [area.name for area in AREAS] + [check.name for check in CHECKS], n=1)
                hint = f" Did you mean {near[0]!r}?" if near else ""
                raise UsageError(f"There is no check and no area {name[:80]!r}.{hint}\nAreas: {', '.join(area.name for area in AREAS)}.")
            chosen += [check for check in found if check not in chosen]
        return tuple(chosen) or CHECKS


def _plain(name: str) -> str:
    return name.strip().lower().replace("_", " ").replace("-", " ")


class SelfCheck:
    """Runs over the configured modes. What was found so far stands in `report`, also when it was interrupted."""

    def __init__(self, settings: SandboxSettings, wanted: Wanted, progress: Progress | None = None) -> None:
        self.settings = settings
        self.wanted = wanted
        self.checks = wanted.checks()
        self.report = Report({})
        self._progress = progress or (lambda *_: None)
        unknown = [name for name in wanted.modes if name not in settings.modes]
        if unknown:
            near = get_close_matches(unknown[0], settings.modes, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise UsageError(f"There is no mode {unknown[0][:80]!r}.{hint}\nModes: {', '.join(settings.modes)}.")

    def __repr__(self) -> str:
        return f"<SelfCheck {len(self.checks)} checks, {len(self.report.modes)} modes looked at>"

    async def run(self) -> Report:
        """Raises nothing for a mode that cannot be had: its report says so. Interrupted, it closes what it had started."""
        self.report = Report(await _versions())
        for mode in self._modes():
            await self._look(mode)
        if self.wanted.weaken:
            for mode in [each for each in self._modes() if each.kind == "docker"][:1]:
                await self._weaken(mode)
        return self.report

    def _modes(self) -> list[ModeSettings]:
        if self.wanted.modes:
            return [self.settings.modes[name] for name in dict.fromkeys(self.wanted.modes)]
        return [mode for mode in self.settings.modes.values() if mode.enabled and mode.kind != "local"]

    async def _look(self, mode: ModeSettings) -> None:
        found: list[Outcome] = []
        started = time.monotonic()
        report = ModeReport(mode.id, self.wanted.fresh, bool(self.wanted.modes), limits=mode.limits, interrupted=True)

        def told(outcome: Outcome) -> None:
            found.append(outcome)
            self._progress(mode.id, len(found), len(self.checks))

        try:
            async with _sandbox(self.settings) as sandbox:
                self._progress(mode.id, 0, len(self.checks))
                execute = await look_at(sandbox, mode.id, fresh=self.wanted.fresh)
                image, image_id, runtime = await _image(mode)
                report = replace(report, isolation=execute.subject.isolation, image=image, image_id=image_id, runtime=runtime)
                await examine(execute, self.checks, limit_s=self.wanted.limit_s, told=told)
            report = replace(report, interrupted=False)
        except SandboxError as exc:
            report = replace(report, interrupted=False, problem=str(exc))
        finally:
            order = {check.name: place for place, check in enumerate(self.checks)}
            outcomes = tuple(sorted(found, key=lambda outcome: order[outcome.check.name]))
            report = replace(report, outcomes=outcomes, took_s=round(time.monotonic() - started, 3))
            self.report = replace(self.report, modes=(*self.report.modes, report))

    async def _weaken(self, mode: ModeSettings) -> None:
        from gleitzeit_nb.sandbox.selfcheck.weakenings import WEAKENINGS, WeakLauncher

        by_weakening = {name: [check for check in self.checks if check.weakening == name] for name in WEAKENINGS}
        for done, (name, checks) in enumerate(by_weakening.items()):
            self._progress("weakened", done, len(by_weakening))
            if not checks:
                continue
            report = WeakenedReport(mode.id, name)
            try:
                weak = WEAKENINGS[name]
                async with _sandbox(self.settings, WeakLauncher(weak), weak.gateway()) as sandbox:
                    execute = ModeExecute(sandbox, Subject(mode, volume_roots=sandbox.settings.volume_roots))
                    if not await still_answers(execute):
                        raise SandboxError("the weakened guest does not answer")
                    report = replace(report, outcomes=tuple(await examine(execute, checks, limit_s=self.wanted.limit_s, sure=False)))
            except SandboxError as exc:
                report = replace(report, problem=str(exc))
            self.report = replace(self.report, weakened=(*self.report.weakened, report))


@asynccontextmanager
async def _sandbox(settings: SandboxSettings, weak: Launcher | None = None, gateway: Gateway | None = None) -> AsyncIterator[Sandbox]:
    """A sandbox of its own, so that nothing that serves the user is touched; a weakened one keeps nothing ready."""
    pool = settings.container_pool
    settings = with_volume_root(replace(settings, container_pool=replace(pool, min_warm=0 if weak else pool.min_warm)))
    launchers: dict[ModeKind, Launcher] | None = {"docker": weak} if weak else None
    with planted_variable(SECRET_NAME, SECRET):
        async with Sandbox(settings, launchers=launchers, gateway=gateway) as sandbox:
            yield sandbox


async def _versions() -> Mapping[str, str]:
    from gleitzeit_nb import __version__

    versions = {"gleitzeit_nb": __version__, "python": platform.python_version(), "kernel": platform.release(), "docker": ""}
    daemon = DockerDaemon()
    try:
        facts = await daemon.facts()
    except SandboxError:
        return versions
    finally:
        daemon.close()
    cgroup = f"cgroup v{facts.cgroup_version} ({facts.cgroup_driver})"
    return {**versions, "docker": facts.version, "docker_api": facts.api_version, "runtime": facts.default_runtime, "cgroup": cgroup}


async def _image(mode: ModeSettings) -> tuple[str, str, str]:
    """Which image it is, by name and digest, and what runs it; all "" where there are no containers."""
    if mode.kind != "docker":
        return "", "", ""

    def look(api: APIClient) -> tuple[str, str, str]:
        name = images.resolve(api, mode.image)
        digest = str(api.inspect_image(name)["Id"])  # type: ignore[no-untyped-call]
        return name, digest, mode.runtime or str(api.info().get("DefaultRuntime", ""))

    daemon = DockerDaemon()
    try:
        return await daemon.call("look at the image", look)
    finally:
        daemon.close()
