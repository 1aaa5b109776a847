"""Asking instances what their models can do: once per model and instance, when somebody needs to know."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gleitzeit_nb.core.abilities import Abilities, told_by
from gleitzeit_nb.core.instances import Instance, InstanceState
from gleitzeit_nb.llm.faults import InstanceFault
from gleitzeit_nb.llm.membership import Member, Membership

WAIT_S = 1.5  # a request does not wait longer: who has not told may be tried
TIMEOUT_S = 10.0
AGAIN_S = 60.0  # after a question that was not answered


class Showings:
    """`learn` before a request that needs to know. What was learned stands in the instances."""

    def __init__(self, members: Membership, clock: Callable[[], float]) -> None:
        self._members = members
        self._clock = clock
        self._asking: dict[tuple[Instance, str], asyncio.Task[None]] = {}
        self._asked_at: dict[tuple[Instance, str, str], float] = {}

    def __repr__(self) -> str:
        return f"<Showings {len(self._asking)} under way>"

    async def learn(self, model: str) -> None:
        """Ask those that have the model and have not told yet. Waits a moment; who takes longer answers for the next request."""
        tasks = [self._soon(each, model) for each in self._members if self._is_due(each.instance, model)]
        if tasks:
            await asyncio.wait(tasks, timeout=WAIT_S)

    async def close(self) -> None:
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _is_due(self, instance: Instance, model: str) -> bool:
        if not model or instance.state is InstanceState.UNHEALTHY or instance.has_model(model) is False:
            return False
        known, digest = instance.abilities.get(model), instance.digest_of(model)
        if known is not None and known.digest == digest and known.capabilities is not None:
            return False
        asked_at = self._asked_at.get((instance, model, digest))
        return asked_at is None or self._clock() - asked_at > AGAIN_S

    def _soon(self, member: Member, model: str) -> asyncio.Task[None]:
        key = (member.instance, model)
        if key not in self._asking:
            self._asking[key] = task = asyncio.get_running_loop().create_task(self._ask(member, model))
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        return self._asking[key]

    async def _ask(self, member: Member, model: str) -> None:
        instance, digest = member.instance, member.instance.digest_of(model)
        before = instance.abilities.get(model)
        refused = before.refused if before is not None and before.digest == digest else frozenset()
        try:
            told = told_by(await member.transport.post("/api/show", {"model": model}, timeout_s=TIMEOUT_S), digest)
        except InstanceFault:
            told = Abilities(digest)  # not known: it may be tried
        self._asked_at[(instance, model, digest)] = self._clock()
        instance.abilities[model] = Abilities(digest, told.capabilities, told.context_length, refused)
