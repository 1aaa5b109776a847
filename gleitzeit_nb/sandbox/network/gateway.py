"""From a host and a port that a rule allows to a connection: names are looked up once, and what was checked is what is connected to."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from gleitzeit_nb.core.allowlist import USUAL_PORTS, Rule, address_of
from gleitzeit_nb.core.network import NetworkPolicy
from gleitzeit_nb.core.reachable import Address, why_not

LOOKUPS = 4  # at once; more wait
TRIED = 4  # addresses of one name
SHOWN = 5  # rules in an answer
THIS_MACHINE = "this machine itself"

Lookup = Callable[[str, int], Awaitable[Sequence[str]]]
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class RefusedError(Exception):
    """The connection is not allowed; `reason` says why in a few words, `remedy` in a sentence how it could be."""

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy


class UnreachedError(Exception):
    """The connection is allowed and was not to be had."""


@dataclass
class Pins:
    """Names and their addresses within one run: looked up once."""

    addresses: dict[str, tuple[Address, ...]] = field(default_factory=dict)


class Gateway:
    """`lookup` gives the addresses of a name, `is_own` says whether one is this machine's; tests replace them. One for all runs."""

    def __init__(self, lookup: Lookup | None = None, is_own: Callable[[Address], bool] | None = None) -> None:
        self._lookup = lookup or _Resolver().lookup
        self._is_own = is_own or is_own_address

    def __repr__(self) -> str:
        return "<Gateway>"

    def judge(self, host: str, port: int, policy: NetworkPolicy) -> None:
        """Raises RefusedError when no rule allows the place. Nothing is looked up for that."""
        if policy.rule_for(host, port) is None:
            wanted = Rule(host, None if port in USUAL_PORTS else port)
            allowed = ", ".join(map(str, policy.rules[:SHOWN])) + (", …" if len(policy.rules) > SHOWN else "")
            raise RefusedError("no rule allows it", f"Allowed: {allowed or 'nothing'}. To allow it: %%sandbox --allow {wanted}")

    async def connect(self, host: str, port: int, policy: NetworkPolicy, pins: Pins) -> Connection:
        """To one of the addresses of `host` that may be connected to. Raises RefusedError or UnreachedError."""
        deadline = time.monotonic() + policy.limits.connect_timeout_s
        addresses = await self._addresses(host, port, policy, pins, deadline)
        problem = "no address"
        for position, address in enumerate(addresses):
            left = (deadline - time.monotonic()) / (len(addresses) - position)
            try:
                return await asyncio.wait_for(_connect(address, port), max(left, 0.05))
            except asyncio.TimeoutError:
                problem = "no answer in time"
            except OSError as exc:
                problem = os.strerror(exc.errno).lower() if exc.errno else type(exc).__name__
        raise UnreachedError(problem)

    async def _addresses(self, host: str, port: int, policy: NetworkPolicy, pins: Pins, deadline: float) -> Sequence[Address]:
        found = pins.addresses.get(host)
        if found is None:
            found = await self._look_up(host, port, deadline)
            pins.addresses[host] = found
        reasons = {address: self.refusal(address, policy) for address in found}
        good = [address for address, reason in reasons.items() if not reason]
        if not good:
            address, reason = next(iter(reasons.items()))
            is_name = address_of(host) is None
            what = f"{host} is {address}, and that is {reason}" if is_name else f"the address is {reason}"
            raise RefusedError(what, f"Only allow_private in your own configuration could open {address}.")
        return good[:TRIED]

    def refusal(self, address: Address, policy: NetworkPolicy) -> str:
        """What the address is that nothing is connected to; "" when it is fit."""
        reason = why_not(address, policy.private)
        if reason or any(each.version == address.version and address in each for each in policy.private):
            return reason
        return THIS_MACHINE if self._is_own(address) else ""

    async def _look_up(self, host: str, port: int, deadline: float) -> tuple[Address, ...]:
        literal = address_of(host)
        if literal is not None:
            return (literal,)
        try:
            texts = await asyncio.wait_for(self._lookup(host, port), max(deadline - time.monotonic(), 0.05))
        except asyncio.TimeoutError:
            raise UnreachedError("its name was not found in time") from None
        except OSError as exc:
            raise UnreachedError(f"its name is not known ({exc.strerror or exc})") from None
        found = tuple(dict.fromkeys(address for text in texts if (address := address_of(text)) is not None))
        if not found:
            raise UnreachedError("its name has no address")
        return found


async def _connect(address: Address, port: int) -> Connection:
    """Exactly there. The name is not used again."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(connection, (str(address), port))
        return await asyncio.open_connection(sock=connection)
    except BaseException:
        connection.close()
        raise


def is_own_address(address: Address) -> bool:
    """Does the address belong to this machine? A datagram socket connected to it then has it on both ends; nothing is sent."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((str(address), 9))
            return address_of(str(probe.getsockname()[0])) == address
    except OSError:
        return False  # no way there: connecting will say so


class _Resolver:
    """The system's, on threads of its own: a slow one must not take those that everybody shares, nor hold up the end of the process."""

    def __init__(self) -> None:
        self._slots: asyncio.Semaphore | None = None

    async def lookup(self, host: str, port: int) -> list[str]:
        loop = asyncio.get_running_loop()
        self._slots = self._slots or asyncio.Semaphore(LOOKUPS)
        answer: asyncio.Future[list[str]] = loop.create_future()
        await self._slots.acquire()
        threading.Thread(target=self._ask, args=(loop, answer, host, port), name="gleitzeit-lookup", daemon=True).start()
        return await answer

    def _ask(self, loop: asyncio.AbstractEventLoop, answer: asyncio.Future[list[str]], host: str, port: int) -> None:
        found: list[str] | OSError
        try:
            found = [str(each[4][0]) for each in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
        except OSError as exc:
            found = exc
        except UnicodeError:
            found = OSError("it is no name")
        with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody waits
            loop.call_soon_threadsafe(self._told, answer, found)

    def _told(self, answer: asyncio.Future[list[str]], found: list[str] | OSError) -> None:
        assert self._slots is not None
        self._slots.release()
        if answer.done():
            return
        if isinstance(found, OSError):
            answer.set_exception(found)
        else:
            answer.set_result(found)
