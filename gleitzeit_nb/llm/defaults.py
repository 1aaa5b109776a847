"""Which model answers when none is named."""

from __future__ import annotations

from gleitzeit_nb.core.admission import Hopeless
from gleitzeit_nb.core.candidates import judge
from gleitzeit_nb.core.instances import Instance
from gleitzeit_nb.core.lines import Waiter
from gleitzeit_nb.core.models import canonical, display
from gleitzeit_nb.core.needs import Needs
from gleitzeit_nb.core.requests import LLMRequest
from gleitzeit_nb.core.settings import PoolSettings
from gleitzeit_nb.errors import PoolError
from gleitzeit_nb.llm import outcomes
from gleitzeit_nb.llm.health import HealthMonitor
from gleitzeit_nb.llm.membership import Membership

FRESH_S = 60.0


async def default_model(settings: PoolSettings, members: Membership, health: HealthMonitor, request: LLMRequest) -> str:
    """The configured one; else the only one that the instances have; else the first that is loaded. Raises NoInstanceError."""
    if settings.default_model:
        return settings.default_model
    candidates = _candidates(members, request)
    chosen = choose(candidates)
    if chosen is None:
        await health.refresh_models(FRESH_S if _names(candidates) else 0.0)
        candidates = _candidates(members, request)
        chosen = choose(candidates)
    if not candidates and len(members):
        raise _nobody_allowed(members, request)
    if chosen is None:
        raise outcomes.no_default_model(_names(candidates).values())
    return chosen


def _nobody_allowed(members: Membership, request: LLMRequest) -> PoolError:
    """Not the model is what is missing: say what is."""
    needs = Needs.of(request, "")
    verdicts = tuple(judge(needs, instance, now=0.0) for instance in members.instances)
    return outcomes.nobody(request, "", (), Hopeless(Waiter((0.0, 0), needs), verdicts, ejected=False))


def choose(instances: list[Instance]) -> str | None:
    names = _names(instances)
    if len(names) == 1:
        return display(next(iter(names.values())))
    for instance in instances:
        for loaded in instance.loaded:
            if loaded in names:
                return display(names[loaded])
    return None


def _candidates(members: Membership, request: LLMRequest) -> list[Instance]:
    """The instances that the request allows."""
    wanted = set(request.tags)
    return [
        instance
        for instance in members.instances
        if request.instance in (None, instance.id) and not instance.draining and wanted <= set(instance.settings.tags)
    ]


def _names(instances: list[Instance]) -> dict[str, str]:
    """Canonical name -> as an instance spells it."""
    spelled = [name for instance in instances for name in (instance.models if instance.models is not None else instance.settings.models)]
    names = {canonical(name): name for name in reversed(spelled)}
    return {name: spelling for name, spelling in names.items() if any(instance.has_model(name) for instance in instances)}
