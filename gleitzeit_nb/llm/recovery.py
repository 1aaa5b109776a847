"""What one request does about failures: whom it leaves out, whom it waits for, and when it gives up."""

from __future__ import annotations

from dataclasses import dataclass, field

from gleitzeit_nb.core.abilities import refused_in
from gleitzeit_nb.core.backoff import returning_s
from gleitzeit_nb.core.faults import TRAITS, Blame, Cause
from gleitzeit_nb.core.leases import Lease, Outcome
from gleitzeit_nb.llm.faults import InstanceFault
from gleitzeit_nb.llm.parts import Parts

RETURN_S = 0.5  # the longest wait before the same instance is asked again by a request whose connection it has closed


@dataclass(eq=False)
class Recovery:
    """`excluded`: who has failed this request, and how. `came_back`: those who were only not there are hoped for once more.

    `owes`: the next try is a retry that the pool's budget has to pay for.
    """

    parts: Parts
    excluded: dict[str, Cause] = field(default_factory=dict)
    came_back: bool = False
    tries: int = 0  # failed ones, with the current model
    owes: bool = False

    def failed(self, lease: Lease, fault: InstanceFault) -> None:
        """Book the fault: what it says of the instance has to be known before its slot goes to the next."""
        instance = lease.instance
        if fault.cause is Cause.BUSY:
            instance.pause.said_busy(self.parts.clock(), fault.retry_after_s, self.parts.rng)
        else:
            self.excluded[instance.id] = fault.cause
        if fault.cause is Cause.MODEL_MISSING:
            instance.forget_model(lease.model)
            self.parts.health.expire_models(self.parts.members.holding(instance))
        if fault.cause is Cause.INCAPABLE:
            instance.learn_refusal(lease.model, refused_in(fault.detail) or "")
        outcome = Outcome.IGNORED if fault.traits.blame is Blame.NOBODY else Outcome.DROPPED
        self.parts.dispatcher.end(lease, outcome, fault.cause)
        self.tries += 1
        self.owes = self._costs(lease, fault)

    def _costs(self, lease: Lease, fault: InstanceFault) -> bool:
        """What may have been work for a server is not to be repeated at will.

        Free is what an instance declined, and what its ejection moves elsewhere: breakers see to it that this stays rare.
        """
        declined = fault.traits.blame is Blame.NOBODY or fault.traits.away
        return not declined and lease.instance.admits(lease.model, self.parts.clock())

    def is_broke(self) -> bool:
        """Would the next try cost more than the pool's budget has?"""
        return self.owes and not self.parts.budget.affords(self.parts.clock())

    def pay(self) -> bool:
        """For the try that begins now. False: the pool's budget is used up."""
        owes, self.owes = self.owes, False
        return not owes or self.parts.budget.spend(self.parts.clock())

    def may_try_again(self) -> bool:
        balancing = self.parts.settings.balancing
        return balancing.failover and self.tries <= balancing.retry_attempts

    def may_restart(self) -> bool:
        """The answer broke off after its first token: what is asked again from the start is always paid for."""
        self.owes = True
        return self.may_try_again() and not self.is_broke()

    def come_back(self) -> float | None:
        """Nobody else is left: hope once for those that were only not there, such as a server that restarts.

        Seconds to wait before (an ejection is wait enough); None: there is nobody to come back to.
        """
        away = [name for name, cause in self.excluded.items() if TRAITS[cause].away or cause is Cause.DISCONNECTED]
        if self.came_back or not away or not self.may_try_again():
            return None
        self.came_back = True
        ready = any(not TRAITS[self.excluded.pop(name)].away for name in away)
        return returning_s(RETURN_S, self.parts.rng) if ready else 0.0

    def next_model(self) -> None:
        """Another model is asked for: who failed only with the last one may be asked again."""
        self.tries = 0
        self.excluded = {name: cause for name, cause in self.excluded.items() if TRAITS[cause].blame is Blame.INSTANCE}
