"""What one request does about failures: whom it leaves out, whom it waits for, and when it gives up."""

from __future__ import annotations

from dataclasses import dataclass, field

from gleitzeit_nb.core.faults import TRAITS, Blame, Cause
from gleitzeit_nb.core.leases import Lease, Outcome
from gleitzeit_nb.llm.faults import InstanceFault
from gleitzeit_nb.llm.parts import Parts

BUSY_PAUSE_S = 0.25  # the first pause after an instance said that it is busy; it doubles with each try
LONGEST_PAUSE_S = 5.0


@dataclass(eq=False)
class Recovery:
    """`excluded`: who has failed this request, and how. `came_back`: those who were only not there are hoped for once more."""

    parts: Parts
    excluded: dict[str, Cause] = field(default_factory=dict)
    came_back: bool = False
    tries: int = 0  # failed ones, with the current model

    def failed(self, lease: Lease, fault: InstanceFault) -> None:
        """Book the fault: what it says of the instance has to be known before its slot goes to the next."""
        instance = lease.instance
        if fault.cause is Cause.BUSY:
            instance.paused_until = self.parts.clock() + self._pause_s(fault)
        else:
            self.excluded[instance.id] = fault.cause
        if fault.cause is Cause.MODEL_MISSING:
            instance.forget_model(lease.model)
            self.parts.health.expire_models(self.parts.members.holding(instance))
        outcome = Outcome.IGNORED if fault.traits.blame is Blame.NOBODY else Outcome.DROPPED
        self.parts.dispatcher.end(lease, outcome, fault.cause)
        self.tries += 1

    def may_try_again(self) -> bool:
        balancing = self.parts.settings.balancing
        return balancing.failover and self.tries <= balancing.retry_attempts

    def come_back(self) -> bool:
        """Nobody else is left: hope once for those that were only not there, such as a server that restarts."""
        away = [name for name, cause in self.excluded.items() if TRAITS[cause].away or cause is Cause.DISCONNECTED]
        if self.came_back or not away or not self.may_try_again():
            return False
        self.came_back = True
        for name in away:
            del self.excluded[name]
        return True

    def next_model(self) -> None:
        """Another model is asked for: who failed only with the last one may be asked again."""
        self.tries = 0
        self.excluded = {name: cause for name, cause in self.excluded.items() if TRAITS[cause].blame is Blame.INSTANCE}

    def _pause_s(self, fault: InstanceFault) -> float:
        """What the instance asked for, else a growing pause with full jitter (but never none)."""
        if fault.retry_after_s is not None:
            return min(fault.retry_after_s, LONGEST_PAUSE_S)
        ceiling = min(BUSY_PAUSE_S * 2.0**self.tries, LONGEST_PAUSE_S)
        return self.parts.rng.uniform(BUSY_PAUSE_S / 2, ceiling)
