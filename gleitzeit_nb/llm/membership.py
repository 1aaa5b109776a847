"""Who belongs to the pool, and the connection to each."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from gleitzeit_nb.core.breaker import BreakerSettings
from gleitzeit_nb.core.instances import Instance, InstanceSettings
from gleitzeit_nb.errors import ConfigError, EngineClosedError, NoInstanceError
from gleitzeit_nb.llm.journal import Journal
from gleitzeit_nb.llm.shared_slots import SharedSlots
from gleitzeit_nb.protocols import Transport, TransportFactory


@dataclass(eq=False)
class Member:
    """One instance and how it is spoken to. `retired`: it takes nothing new, and is closed after its last answer."""

    instance: Instance
    transport: Transport
    share: SharedSlots | None = None
    retired: bool = False


class Membership:
    """The members by id, in the order in which they came."""

    def __init__(
        self,
        breaker: BreakerSettings,
        factory: TransportFactory,
        journal: Journal,
        share_of: Callable[[InstanceSettings], SharedSlots | None],
        require_tags: Sequence[str] = (),
    ) -> None:
        self._require_tags = require_tags
        self._breaker = breaker
        self._share_of = share_of
        self._factory = factory
        self._journal = journal
        self._members: dict[str, Member] = {}
        self._leaving: set[Member] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self.instances: tuple[Instance, ...] = ()

    def __iter__(self) -> Iterator[Member]:
        return iter(tuple(self._members.values()))

    def __len__(self) -> int:
        return len(self._members)

    def __repr__(self) -> str:
        return f"<Membership {', '.join(self._members) or 'empty'}>"

    @property
    def in_flight(self) -> int:
        """Over all instances, also those that are leaving."""
        return sum(member.instance.load.in_flight for member in (*self._members.values(), *self._leaving))

    def named(self, instance_id: str) -> Member:
        """Raises NoInstanceError with the names that there are."""
        found = self._members.get(instance_id)
        if found is not None:
            return found
        near = difflib.get_close_matches(instance_id, self._members, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(self._members) or 'none'}"
        raise NoInstanceError(f"the pool has no instance {instance_id[:80]!r}; {hint}")

    def __contains__(self, instance_id: object) -> bool:
        return instance_id in self._members

    def at(self, url: str) -> Member:
        """The member with that URL. Raises NoInstanceError."""
        wanted = url.rstrip("/")
        for member in self._members.values():
            if member.instance.settings.url.rstrip("/") == wanted:
                return member
        raise NoInstanceError("no instance of the pool has that URL; take it from get_instance()")

    def holding(self, instance: Instance) -> Member:
        """The member of an instance that may be leaving already."""
        found = self._members.get(instance.id)
        if found is not None and found.instance is instance:
            return found
        for member in self._leaving:
            if member.instance is instance:
                return member
        raise EngineClosedError("the pool was closed while the request waited for an instance")

    def obey(
        self, breaker: BreakerSettings, share_of: Callable[[InstanceSettings], SharedSlots | None], require_tags: Sequence[str] = ()
    ) -> None:
        """Other settings. What is being answered keeps the slot that it has; whether others know of it counts from the next request on."""
        self._breaker, self._share_of, self._require_tags = breaker, share_of, require_tags
        for member in self:
            member.instance.missing_tags = self._missing(member.instance.settings)
            member.instance.obey(breaker)
            share = share_of(member.instance.settings)
            if (share is None) != (member.share is None):
                _leave_share(member)
                member.share = member.instance.share = share

    def add(self, settings: InstanceSettings) -> Member:
        if settings.id in self._members:
            raise ConfigError(f"the pool has an instance {settings.id!r} already: remove it first, or choose another id")
        share = self._share_of(settings)
        instance = Instance(settings, self._breaker, share=share, missing_tags=self._missing(settings))
        member = Member(instance, self._factory(settings), share)
        self._members[settings.id] = member
        self._update()
        self._journal.changed(settings.id, "added")
        return member

    def _missing(self, settings: InstanceSettings) -> tuple[str, ...]:
        return tuple(tag for tag in self._require_tags if tag not in settings.tags)

    def remove(self, instance_id: str) -> Member:
        """It gets nothing new; what it answers now it may finish, then its connections are closed."""
        member = self.named(instance_id)
        del self._members[instance_id]
        member.retired = True
        self._leaving.add(member)
        self._update()
        self._journal.changed(instance_id, "removed")
        self.released(member.instance)
        return member

    def released(self, instance: Instance) -> None:
        """A lease of this instance has ended: if it was the last of one that leaves, close its connections."""
        if not self._leaving or instance.load.in_flight:
            return
        for member in [each for each in self._leaving if each.instance is instance]:
            self._leaving.discard(member)
            _leave_share(member)
            task = asyncio.get_running_loop().create_task(member.transport.aclose(), name=f"gleitzeit-close-{instance.id}")
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        members = (*self._members.values(), *self._leaving)
        self._members.clear()
        self._leaving.clear()
        self._update()
        for member in members:
            member.retired = True
            _leave_share(member)
        closings = (*self._closing, *(member.transport.aclose() for member in members))
        await asyncio.gather(*closings, return_exceptions=True)

    def _update(self) -> None:
        self.instances = tuple(member.instance for member in self._members.values())


def _leave_share(member: Member) -> None:
    if member.share is not None:
        member.share.close()
