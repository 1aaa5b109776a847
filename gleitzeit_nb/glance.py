"""What the servers have, asked once and before there is an engine: for who wants to choose, not to use.

Nothing is started and nothing kept: two questions to each server (`/api/tags`, `/api/ps`), as the pool asks them, and no model is loaded
by them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from gleitzeit_nb.config import Config
from gleitzeit_nb.core.health import Probe, after_probe
from gleitzeit_nb.core.instances import Instance, InstanceSettings
from gleitzeit_nb.snapshot import InstanceView

PATIENCE_S = 2.0  # with each server, as the pool has at its start
AT_ONCE = 32

See = Callable[[InstanceView], None]


async def glance(config: Config, see: See) -> None:
    """Tell `see` of each instance that an engine of this configuration would have: at once what is configured, then what it says itself."""
    if config.pool.replay is not None:
        return  # a recording answers, and no instance is asked
    if config.explicit_instances:
        found = config.pool.instances
    else:
        from gleitzeit_nb.llm.discovery import discover

        found = tuple(await discover(config.discovery_urls, config.pool.access))
        if not found:
            await asyncio.to_thread(_see_embedded, see)
    room = asyncio.Semaphore(AT_ONCE)
    instances = [Instance(each, config.pool.breaker) for each in found]
    for each in instances:
        _tell(each, see)
    await asyncio.gather(*(_ask(each, room, see) for each in instances))


async def _ask(instance: Instance, room: asyncio.Semaphore, see: See) -> None:
    from gleitzeit_nb.llm.faults import InstanceFault
    from gleitzeit_nb.llm.inventory import loaded_of, names_of
    from gleitzeit_nb.llm.ollama import open_transport

    async with room:
        transport = open_transport(instance.settings)
        try:
            instance.learn_models(names_of(await transport.get("/api/tags", timeout_s=PATIENCE_S)))
            instance.loaded = loaded_of(await transport.get("/api/ps", timeout_s=PATIENCE_S), time.monotonic())
        except InstanceFault as fault:
            probe = Probe(0.0, fault.cause, fault.detail)
        else:
            probe = Probe(0.0)
        finally:
            await transport.aclose()
    instance.state, instance.reason = after_probe(instance, probe)
    _tell(instance, see)


def _see_embedded(see: See) -> None:
    """The embedded model, where an engine would launch it."""
    from gleitzeit_nb.embedded import DEFAULT_MODEL, is_ready
    from gleitzeit_nb.embedded.launch import STAND_IN, TAGS

    if is_ready():
        _tell(Instance(InstanceSettings(STAND_IN, "http://127.0.0.1", models=(DEFAULT_MODEL,), tags=TAGS)), see)


def _tell(instance: Instance, see: See) -> None:
    from gleitzeit_nb.llm.views import instance_view

    see(instance_view(instance, time.monotonic()))
