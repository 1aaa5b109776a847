"""The pool's settings in one value; each part is defined beside the code that obeys it."""

from __future__ import annotations

from dataclasses import dataclass, field

from gleitzeit_nb.core.access import AccessSettings
from gleitzeit_nb.core.admission import AdmissionSettings
from gleitzeit_nb.core.aliases import Aliases
from gleitzeit_nb.core.breaker import BreakerSettings
from gleitzeit_nb.core.instances import InstanceSettings
from gleitzeit_nb.core.keep_alive import KeepAlive
from gleitzeit_nb.core.receipts import ReceiptSettings
from gleitzeit_nb.core.remembering import CacheSettings
from gleitzeit_nb.core.strategies import BalancingSettings
from gleitzeit_nb.core.timeouts import TimeoutSettings


@dataclass(frozen=True)
class PoolSettings:
    """Everything that an OllamaPoolManager obeys. `default_model` None: the only or the first warm one.

    `preload`: models that are loaded at the start, in the background.
    `record`: the file to which answers are written. `replay`: the one that gives all of them, so that no instance is asked.
    `share_slots`: the kernels of this machine together keep to an instance's `max_concurrent`.
    `access`: what counts also for servers that are found or added later. It holds no credentials; each instance has its own.
    """

    instances: tuple[InstanceSettings, ...] = ()
    access: AccessSettings = AccessSettings()
    balancing: BalancingSettings = BalancingSettings()
    breaker: BreakerSettings = BreakerSettings()
    admission: AdmissionSettings = AdmissionSettings()
    timeouts: TimeoutSettings = TimeoutSettings()
    default_model: str | None = None
    require_tags: tuple[str, ...] = ()  # of every instance that is asked, whatever a request says
    keep_alive: KeepAlive = KeepAlive()
    preload: tuple[str, ...] = ()
    aliases: Aliases = field(default_factory=dict)
    cache: CacheSettings = CacheSettings()
    record: str | None = None
    replay: str | None = None
    share_slots: bool = True
    receipts: ReceiptSettings = ReceiptSettings()
