"""One Ollama server as the pool sees it: what was configured and what was observed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from gleitzeit_nb.core.abilities import Abilities, ContextFit, context_fit
from gleitzeit_nb.core.access import AccessSettings
from gleitzeit_nb.core.adaptive import AdaptiveLimit
from gleitzeit_nb.core.addresses import is_loopback
from gleitzeit_nb.core.breaker import Breaker, BreakerSettings
from gleitzeit_nb.core.limits import RateLimits
from gleitzeit_nb.core.load import Load
from gleitzeit_nb.core.models import LoadedModel, canonical, display
from gleitzeit_nb.core.pauses import Pause
from gleitzeit_nb.core.sharing import SlotShare

WARM_FOR_S = 240.0  # how long an instance's word that a model is loaded is believed; Ollama itself keeps one for 5 minutes
MODEL_BREAKERS = 64  # bounded: the names of models come from requests


class InstanceState(str, Enum):
    """What the last health probe and the last requests say of an instance."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class InstanceSettings(AccessSettings):
    """One instance as configured. `url` holds no user info: that has become `api_key` or `basic_auth` before.

    `max_concurrent` is the instance's total; None means one request per loaded model, at least 1.
    `models` are what the user says it has; empty means: ask `/api/tags`.
    Lower `priority` is preferred. `adaptive`: fewer than `max_concurrent` at once while the server lets requests wait.
    """

    id: str
    url: str
    models: tuple[str, ...] = ()
    max_concurrent: int | None = None
    tags: tuple[str, ...] = ()
    priority: int = 1
    weight: float = 1.0
    specialization: str | None = None
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    adaptive: bool = False


@dataclass(eq=False)
class Instance:
    """What was configured, and beside it what probes and requests have shown. Only the pool's loop writes it."""

    settings: InstanceSettings
    breaker_settings: BreakerSettings = field(default_factory=BreakerSettings)
    state: InstanceState = InstanceState.UNKNOWN
    reason: str = ""
    draining: bool = False
    models: tuple[str, ...] | None = None  # as `/api/tags` spells them; None: not known yet
    shown_models: tuple[str, ...] = field(default=(), init=False)  # for people: those, else the declared ones
    digests: dict[str, str] = field(default_factory=dict)  # canonical name -> digest, as `/api/tags` tells them
    sizes_bytes: dict[str, int] = field(default_factory=dict)  # canonical name -> size, as `/api/tags` tells them
    loaded: dict[str, LoadedModel] = field(default_factory=dict)  # by canonical name
    abilities: dict[str, Abilities] = field(default_factory=dict)  # by canonical name; absent: nobody has asked
    missing_tags: tuple[str, ...] = ()  # of those that the pool requires of everybody
    rate: RateLimits | None = field(init=False)
    adaptive: AdaptiveLimit | None = field(init=False)
    is_private: bool = field(init=False)  # what is sent there stays on this machine
    pause: Pause = field(default_factory=Pause)  # it said that it is busy
    share: SlotShare | None = None  # None: nobody else is told of its slots
    elsewhere_until: float = 0.0  # other pools have its slots; when to look again
    missed_probes: int = 0  # health probes in a row that ran out of time
    last_turn: int = 0  # when it was picked last, as a count of picks
    load: Load = field(default_factory=Load)
    breaker: Breaker = field(init=False)
    model_breakers: dict[str, Breaker] = field(default_factory=dict, init=False)
    _known: frozenset[str] | None = field(default=None, init=False)
    _declared: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        self.breaker = Breaker(self.breaker_settings)
        settings = self.settings
        self.rate = RateLimits.of(settings.requests_per_minute, settings.tokens_per_minute)
        self.adaptive = AdaptiveLimit(settings.max_concurrent) if settings.adaptive and settings.max_concurrent else None
        self.is_private = is_loopback(self.settings.url) and self.settings.proxy is None
        self._declared = frozenset(map(canonical, self.settings.models))
        self.shown_models = tuple(map(display, settings.models))
        if self.models is not None:
            self.learn_models(self.models)

    def __repr__(self) -> str:
        facts = [f"{self.load.in_flight}/{self.slots} in flight", f"breaker {self.breaker.state.value}", *(["draining"] * self.draining)]
        return f"<Instance {self.id} {self.state.value}, {', '.join(facts)}>"

    @property
    def id(self) -> str:
        return self.settings.id

    @property
    def slots(self) -> int:
        """The most requests at once: as configured, else one per loaded model, at least one; never more than other pools allow it."""
        own = self.settings.max_concurrent or max(1, len(self.loaded))
        own = own if self.adaptive is None else min(own, self.adaptive.slots)
        shared = self.share.limit if self.share is not None else None
        return own if shared is None else min(own, shared)

    def is_free_for(self, model: str) -> bool:
        """Is a slot free? Without a configured limit a model gets one request at a time: Ollama's own default."""
        if self.load.in_flight >= self.slots:
            return False
        return self.settings.max_concurrent is not None or self.load.by_model[model] == 0

    def slow_start(self, model: str, now: float) -> int | None:
        """The most requests at once (of the model, if it is what came back) until it has proved itself; None: it is not in the way."""
        cap = 1 if self.pause.count else self.breaker.cap(now)
        if cap is not None and self.load.in_flight >= cap:
            return cap
        model_breaker = self.model_breakers.get(model)
        cap = None if model_breaker is None else model_breaker.cap(now)
        return cap if cap is not None and self.load.by_model[model] >= cap else None

    def eases_at(self, model: str, now: float) -> float | None:
        """When time alone lets more requests through; None: slow start is not what is in the way."""
        model_breaker = self.model_breakers.get(model)
        times = [each.eases_at(now) for each in (self.breaker, model_breaker) if each is not None]
        return min((at for at in times if at is not None), default=None)

    def has_model(self, model: str) -> bool | None:
        """Declared, or listed by the instance; where both are known, both must agree. None: nobody knows yet."""
        if self._declared and model not in self._declared:
            return False
        if self._known is None:
            return True if self._declared else None
        return model in self._known

    @property
    def known_models(self) -> frozenset[str] | None:
        """Canonical names as the instance listed them; None: not known yet."""
        return self._known

    def learn_models(self, names: Iterable[str]) -> None:
        self.models = tuple(names)
        self.shown_models = tuple(map(display, self.models))
        self._known = frozenset(map(canonical, self.models))

    def forget_model(self, model: str) -> None:
        """The instance has just said that it does not have it."""
        if self._known is None:
            return
        self.learn_models(name for name in self.models or () if canonical(name) != model)

    def digest_of(self, model: str) -> str:
        """Which model the name stands for there: what is loaded, else what its list says. "": not known."""
        entry = self.loaded.get(model)
        return (entry.digest if entry is not None else "") or self.digests.get(model, "")

    def learn_refusal(self, model: str, capability: str) -> None:
        """It has just said that its model cannot do that."""
        known = self.abilities.get(model, Abilities(self.digest_of(model)))
        self.abilities[model] = known.refusing(capability)

    def context_fit(self, model: str, wanted: int, now: float, *, may_reload: bool) -> ContextFit:
        entry = self.loaded.get(model) if self.is_warm(model, now) else None
        loaded = entry.context_length if entry is not None else None
        return context_fit(wanted, loaded, self.abilities.get(model), may_reload=may_reload)

    def is_warm(self, model: str, now: float) -> bool:
        entry = self.loaded.get(model)
        return entry is not None and now - entry.seen_at < WARM_FOR_S

    def gpu_share(self, model: str) -> float | None:
        """What `/api/ps` proves of the model, else of any loaded model; None: it proves nothing."""
        entry = self.loaded.get(model)
        if entry is not None and entry.gpu_share is not None:
            return entry.gpu_share
        shares = [each.gpu_share for each in self.loaded.values() if each.gpu_share is not None]
        return max(shares, default=None)

    def has_gpu(self, model: str) -> bool:
        share = self.gpu_share(model)
        return share > 0 if share is not None else "gpu" in self.settings.tags

    def admits(self, model: str, now: float) -> bool:
        """Do the breakers of the instance and of the model on it let one more request through?"""
        model_breaker = self.model_breakers.get(model)
        return self.breaker.admits(now) and (model_breaker is None or model_breaker.admits(now))

    def may_panic(self, model: str, now: float) -> bool:
        """May all the breakers that are in the way be passed by, once?"""
        shut = [each for each in (self.breaker, self.model_breakers.get(model)) if each is not None and not each.admits(now)]
        return all(each.may_panic for each in shut)

    def retry_at(self, model: str) -> float | None:
        """When the last of the open breakers in the way lets a probe through; None: no open breaker is in the way."""
        model_breaker = self.model_breakers.get(model)
        times = [each.retry_at for each in (self.breaker, model_breaker) if each is not None and each.retry_at is not None]
        return max(times, default=None)

    def ejected_because(self, model: str) -> str:
        model_breaker = self.model_breakers.get(model)
        opened = [each for each in (self.breaker, model_breaker) if each is not None and each.retry_at is not None]
        return opened[0].reason if opened else ""

    def obey(self, settings: BreakerSettings) -> None:
        """Other settings for all its breakers; their states stay."""
        self.breaker_settings = settings
        for each in (self.breaker, *self.model_breakers.values()):
            each.settings = settings

    def breaker_for(self, model: str) -> Breaker:
        """The breaker of this model on this instance, made on the model's first fault."""
        found = self.model_breakers.get(model)
        if found is None:
            if len(self.model_breakers) >= MODEL_BREAKERS:
                del self.model_breakers[next(iter(self.model_breakers))]
            found = self.model_breakers[model] = Breaker(self.breaker_settings)
        return found
