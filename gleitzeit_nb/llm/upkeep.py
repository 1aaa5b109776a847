"""Loading, fetching, unloading and deleting models on the instances of a pool."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from gleitzeit_nb.core.faults import Cause
from gleitzeit_nb.core.keep_alive import on_the_wire
from gleitzeit_nb.core.models import canonical, display
from gleitzeit_nb.core.requests import Kind, LLMRequest, Reply, build_request
from gleitzeit_nb.core.upkeep import Holding, Layers, PullProgress, Warmed, Where, home_of
from gleitzeit_nb.errors import GleitzeitError, ModelNotFoundError, NoInstanceError, RequestRejectedError, UpkeepError
from gleitzeit_nb.llm.faults import InstanceFault, shortened
from gleitzeit_nb.llm.listing import list_loaded, list_models
from gleitzeit_nb.llm.membership import Member
from gleitzeit_nb.llm.parts import Parts

logger = logging.getLogger("gleitzeit_nb.pool")

FIRST_LINE_S = 60.0  # the server asks its registry first
SILENCE_S = 900.0  # it says nothing while it checks the sum of a large file
UNLOAD_S = 10.0
DELETE_S = 60.0
FRESH_S = 2.0
UNLOAD_NOW = on_the_wire(0.0)
# A server says that a model is unloaded before it is: it lists it until its process has ended, and that waits for who is answering.
LOOKS_AFTER_S = (0.2, 0.3, 0.5, 1.0, 2.0, 4.0, 8.0)

Complete = Callable[[LLMRequest], Awaitable[Reply]]


@dataclass(eq=False)
class Flight:
    """One load that is under way, and how many wait for it: it is given up when nobody does any more."""

    task: asyncio.Task[Warmed]
    waiters: int = 0


class Upkeep:
    """Belongs to an open pool, and ends before it does."""

    def __init__(self, parts: Parts, complete: Complete) -> None:
        self._parts = parts
        self._complete = complete
        self._ids = itertools.count(1)
        self._flights: dict[tuple[str, str], Flight] = {}
        self._behind: set[asyncio.Task[None]] = set()  # what nobody waits for

    def __repr__(self) -> str:
        return f"<Upkeep {len(self._flights)} loading>"

    async def close(self) -> None:
        tasks = [flight.task for flight in self._flights.values()] + list(self._behind)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- loading ----------------------------------------------------------------------------------------------------------------

    def preload(self, models: Sequence[str]) -> None:
        """Load these in the background, one after the other, each where the least is loaded. What fails is logged."""
        if models:
            self._go_on(self._preload(models), "gleitzeit-preload")

    def _go_on(self, work: Coroutine[None, None, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._behind.add(task)
        task.add_done_callback(self._behind.discard)

    async def _preload(self, models: Sequence[str]) -> None:
        for model in models:
            home = home_of(model, self._parts.members.instances, self._parts.clock())
            try:
                await self._warm_once(model, home.id if home is not None else None)
            except GleitzeitError as error:
                logger.warning("preload of %s: %s", shortened(model, 80), shortened(str(error)))

    async def warm(self, model: str, where: Where) -> tuple[Warmed, ...]:
        """Load the model: on those that are meant, else where it is wanted most likely. UpkeepError when some could not."""
        if not where.is_said:
            home = home_of(model, self._parts.members.instances, self._parts.clock())
            return (await self._warm_once(model, home.id if home is not None else None),)
        name = canonical(model)
        targets = [each.instance.id for each in self._meant(where) if where.instance or each.instance.has_model(name) is not False]
        if not targets:
            raise ModelNotFoundError(f"no instance {where} has the model {shortened(display(model), 80)}")
        results = await asyncio.gather(*(self._warm_once(model, each) for each in targets), return_exceptions=True)
        done, failed = [], []
        for target, result in zip(targets, results, strict=True):
            if isinstance(result, GleitzeitError):
                failed.append((target, str(result).split("\n", 1)[0]))
            elif isinstance(result, BaseException):
                raise result
            else:
                done.append(result)
        if failed and len(targets) == 1:
            raise next(result for result in results if isinstance(result, GleitzeitError))
        _raise_failed(f"{shortened(display(model), 80)} was loaded on {len(done)} of {len(targets)} instances", failed)
        return tuple(done)

    async def _warm_once(self, model: str, instance_id: str | None) -> Warmed:
        """Whoever asks for a load that is under way waits for that one."""
        key = (instance_id or "", canonical(model))
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = Flight(asyncio.get_running_loop().create_task(self._load(model, instance_id)))
            flight.task.add_done_callback(lambda _: self._flights.pop(key, None))
        flight.waiters += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiters -= 1
            if not flight.waiters:
                flight.task.cancel()

    async def _load(self, model: str, instance_id: str | None) -> Warmed:
        now = self._parts.clock()
        warm = {each.id for each in self._parts.members.instances if each.is_warm(canonical(model), now)}
        known = [each.abilities.get(canonical(model)) for each in self._parts.members.instances if instance_id in (None, each.id)]
        if any(each is not None and "completion" in each.lacks(frozenset({"completion"})) for each in known):
            return await self._warmed(await self._complete(self._empty("embed", model, instance_id)), model, warm)
        try:
            reply = await self._complete(self._empty("chat", model, instance_id))
        except RequestRejectedError as error:
            if error.status != 400:
                raise
            reply = await self._complete(self._empty("embed", model, instance_id))  # a model for embeddings knows no chat
        return await self._warmed(reply, model, warm)

    async def _warmed(self, reply: Reply, model: str, warm: set[str]) -> Warmed:
        """The next request may ask for a context of its own: with which the model was loaded has to be known by then."""
        await self._parts.health.look([each for each in self._parts.members if each.instance.id == reply.instance])
        return Warmed(reply.instance, model, reply.elapsed_s, reply.instance in warm)

    def _empty(self, kind: Kind, model: str, instance_id: str | None) -> LLMRequest:
        """A request without content only loads its model."""
        return build_request(f"warm-{next(self._ids)}", kind, model, instance=instance_id, label=f"warm {display(model)}")

    # -- fetching ---------------------------------------------------------------------------------------------------------------

    async def pull(self, model: str, where: Where) -> AsyncGenerator[PullProgress, None]:
        """Let the instances fetch the model, at once, and tell how far they are. Closing the iterator stops them. UpkeepError."""
        members = self._meant(where)
        if not where.is_said and len(members) > 1:
            known = ", ".join(each.instance.id for each in members)
            raise NoInstanceError(f"say which instance shall fetch {shortened(model, 80)}: one, those with tags, or all of: {known}")
        news: asyncio.Queue[PullProgress] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(self._pull_on(each, model, news.put_nowait)) for each in members]
        failed: list[tuple[str, str]] = []
        try:
            running = len(tasks)
            while running:
                progress = await news.get()
                running -= progress.done
                failed += [(progress.instance, progress.error)] if progress.error else []
                yield progress
        finally:
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
        for end in ends:
            if isinstance(end, Exception):
                raise end
        _raise_failed(f"{shortened(model, 80)} was fetched by {len(members) - len(failed)} of {len(members)} instances", failed)

    async def _pull_on(self, member: Member, model: str, tell: Callable[[PullProgress], None]) -> None:
        layers, error = Layers(), ""

        def progress(*, done: bool = False) -> PullProgress:
            sizes = (layers.completed_bytes, layers.total_bytes)
            return PullProgress(member.instance.id, model, layers.status, *sizes, done=done, error=error)

        connect_s = self._parts.settings.timeouts.connect_s
        lines = member.transport.stream(
            "/api/pull", {"model": model, "stream": True}, connect_s=connect_s, first_s=FIRST_LINE_S, between_s=SILENCE_S
        )
        try:
            async with aclosing(lines):  # type: ignore[type-var]  # every transport's stream is a generator
                async for some in lines:
                    for line in some:
                        layers.take(line)
                        tell(progress())
            error = "" if layers.status == "success" else "it ended before it was complete"
            if not error:
                self._parts.health.expire_models(member)
                await self._parts.health.look([member])
        except InstanceFault as fault:
            error = str(fault)
        finally:  # also when something of ours fails, which `pull` raises: it would wait for this instance for ever
            tell(progress(done=True))

    # -- unloading and deleting -----------------------------------------------------------------------------------------------

    async def unload(self, model: str, where: Where) -> tuple[str, ...]:
        """Unload it where it is loaded; who answers with it may finish. The instances that did so; UpkeepError when some could not."""
        name = canonical(model)
        holders = {row.instance for row in (await list_loaded(self._parts)).rows if canonical(row.name) == name}
        members = [each for each in self._meant(where) if each.instance.id in holders]

        async def unload(member: Member) -> None:
            await member.transport.post("/api/generate", {"model": model, "keep_alive": UNLOAD_NOW, "stream": False}, timeout_s=UNLOAD_S)
            idle = not member.instance.load.in_flight  # else it stays for those who are answering
            if idle and member.instance.loaded.pop(name, None) is not None:
                self._parts.journal.model_unloaded(member.instance, name)
            self._go_on(self._see_it_leave(member, name), "gleitzeit-unload")

        return await self._each(members, unload, f"{shortened(model, 80)} was unloaded")

    async def _see_it_leave(self, member: Member, name: str) -> None:
        """So that nobody takes it for loaded until the next probe, which may be half a minute away."""
        for pause_s in LOOKS_AFTER_S:
            await asyncio.sleep(pause_s)
            await self._parts.health.look([member])
            if name not in member.instance.loaded or member.retired:
                return

    async def holders(self, model: str, where: Where) -> tuple[Holding, ...]:
        """Who has the model on its disk, asked now."""
        meant = {each.instance.id for each in self._meant(where)}
        rows = (await list_models(self._parts)).rows
        found = [row for row in rows if row.instance in meant and canonical(row.name) == canonical(model)]
        return tuple(Holding(row.instance, row.name, row.size_bytes, row.digest) for row in found)

    async def delete(self, model: str, where: Where) -> tuple[str, ...]:
        """Delete it from the disks of those that have it. ModelNotFoundError when nobody does; UpkeepError when some could not."""
        holders = await self.holders(model, where)
        if not holders:
            raise ModelNotFoundError(f"no instance {where} has the model {shortened(display(model), 80)}")
        names = {each.instance: each.name for each in holders}
        members = [each for each in self._parts.members if each.instance.id in names]

        async def delete(member: Member) -> None:
            instance = member.instance
            try:
                await member.transport.delete("/api/delete", {"model": names[instance.id]}, timeout_s=DELETE_S)
            except InstanceFault as fault:
                if fault.cause is not Cause.MODEL_MISSING:  # somebody else was faster
                    raise
            instance.forget_model(canonical(model))
            instance.digests.pop(canonical(model), None)
            self._parts.health.expire_models(member)

        return await self._each(members, delete, f"{shortened(model, 80)} was deleted")

    async def _each(self, members: Sequence[Member], work: Callable[[Member], Awaitable[None]], what: str) -> tuple[str, ...]:
        results = await asyncio.gather(*(work(each) for each in members), return_exceptions=True)
        failed: list[tuple[str, str]] = []
        for member, result in zip(members, results, strict=True):
            if isinstance(result, InstanceFault):
                failed.append((member.instance.id, str(result)))
            elif isinstance(result, BaseException):
                raise result
        _raise_failed(f"{what} on {len(members) - len(failed)} of {len(members)} instances", failed)
        return tuple(each.instance.id for each in members)

    def _meant(self, where: Where) -> list[Member]:
        """NoInstanceError when nobody is."""
        if where.instance is not None:
            return [self._parts.members.named(where.instance)]
        found = [each for each in self._parts.members if where.holds(each.instance)]
        if not found:
            known = ", ".join(sorted({tag for each in self._parts.members.instances for tag in each.settings.tags})) or "none"
            why = f"; there are the tags: {known}" if where.tags else "; add one to the configuration, or start Ollama and reload"
            raise NoInstanceError(f"there is no instance {where}{why}")
        return found


def _raise_failed(what: str, failed: Iterable[tuple[str, str]]) -> None:
    rows = [(instance, shortened(reason)) for instance, reason in failed]
    if rows:
        raise UpkeepError(f"{what}. What went wrong:", rows)
