"""From a name to a connection: what was checked is what is connected to."""

from __future__ import annotations

import asyncio
import time

import pytest

from gleitzeit_nb.core.allowlist import address_of
from gleitzeit_nb.core.network import NetworkLimits, NetworkPolicy
from gleitzeit_nb.core.reachable import parse_range
from gleitzeit_nb.sandbox.network.gateway import THIS_MACHINE, Gateway, Pins, RefusedError, UnreachedError, _Resolver, is_own_address
from gleitzeit_nb.sandbox.network.policy import rules_of
from tests.sandbox.network.servers import Names, Server


def policy(*allow: str, private: tuple[str, ...] = (), **limits: float) -> NetworkPolicy:
    return NetworkPolicy(rules_of(allow), tuple(map(parse_range, private)), NetworkLimits(**limits))  # type: ignore[arg-type]


async def test_a_name_that_is_not_allowed_is_never_looked_up() -> None:
    names = Names(evil_org=[["93.184.216.34"]])
    with pytest.raises(RefusedError, match="no rule"):
        Gateway(names).judge("evil.org", 443, policy("example.org"))
    assert names.asked == []


@pytest.mark.parametrize(
    ("address", "what"),
    [
        ("127.0.0.1", "loopback"),
        ("10.0.0.5", "private"),
        ("192.168.1.1", "private"),
        ("169.254.169.254", "metadata"),
        ("169.254.1.1", "link-local"),
        ("100.64.0.1", "provider"),
        ("0.0.0.0", "unspecified"),
        ("224.0.0.1", "multicast"),
        ("::1", "loopback"),
        ("fe80::1", "link-local"),
        ("fd00::1", "private"),
        ("fd00:ec2::254", "metadata"),
        ("::ffff:127.0.0.1", "another form of 127.0.0.1"),
        ("::ffff:169.254.169.254", "metadata"),
        ("64:ff9b::7f00:1", "another form of 127.0.0.1"),
        ("2002:7f00:1::", "another form of 127.0.0.1"),
    ],
)
async def test_an_allowed_name_leads_to_no_inner_address(address: str, what: str) -> None:
    gateway = Gateway(Names(site_test=[[address]]))
    with pytest.raises(RefusedError, match=what) as caught:
        await gateway.connect("site.test", 443, policy("site.test"), Pins())
    assert "allow_private" in caught.value.remedy


async def test_a_listed_inner_address_is_still_refused_without_allow_private() -> None:
    async with Server() as server:
        with pytest.raises(RefusedError, match="loopback"):
            await Gateway().connect("127.0.0.1", server.port, policy(f"127.0.0.1:{server.port}"), Pins())
        assert server.connections == 0


async def test_a_name_that_changes_its_address_is_looked_up_once_per_run() -> None:
    """Rebinding: the first answer is public, the second is not; the run goes on with what was checked."""
    async with Server() as server, Server(host="127.0.0.2") as other:
        names = Names(site_test=[["127.0.0.1"], ["127.0.0.2"]])
        rules, pins = policy("site.test:1", private=("127.0.0.1",)), Pins()
        gateway = Gateway(names)
        for _ in range(3):
            _, writer = await gateway.connect("site.test", server.port, rules, pins)
            assert writer.get_extra_info("peername")[0] == "127.0.0.1"
            writer.close()
        assert (names.asked, other.connections) == (["site.test"], 0)
        with pytest.raises(RefusedError):  # the next run asks again, and checks again
            await gateway.connect("site.test", other.port, rules, Pins())
        assert other.connections == 0


async def test_of_several_addresses_only_those_that_may_be_reached_are_tried() -> None:
    async with Server() as server, Server(host="127.0.0.2") as forbidden:
        gateway = Gateway(Names(site_test=[["127.0.0.2", "10.0.0.1", "127.0.0.1"]]))
        _, writer = await gateway.connect("site.test", server.port, policy("site.test", private=("127.0.0.1",)), Pins())
        assert writer.get_extra_info("peername")[0] == "127.0.0.1"
        writer.close()
        assert forbidden.connections == 0


async def test_an_address_that_does_not_answer_is_passed_over() -> None:
    async with Server() as server:
        gateway = Gateway(Names(site_test=[["127.0.0.3", "127.0.0.1"]]))
        _, writer = await gateway.connect("site.test", server.port, policy("site.test", private=("127.0.0.0/8",)), Pins())
        assert writer.get_extra_info("peername")[0] == "127.0.0.1"
        writer.close()


def test_an_address_of_this_machine_is_refused_even_when_it_is_public() -> None:
    address = address_of("93.184.216.34")
    assert address is not None
    gateway = Gateway(is_own=lambda each: each == address)
    assert gateway.refusal(address, policy()) == THIS_MACHINE
    assert gateway.refusal(address, policy(private=("93.184.216.34",))) == ""


@pytest.mark.parametrize(("text", "own"), [("127.0.0.1", True), ("198.51.100.7", False)])
def test_the_kernel_tells_an_own_address(text: str, own: bool) -> None:
    address = address_of(text)
    assert address is not None
    assert is_own_address(address) is own


async def test_a_slow_lookup_ends_with_the_time_to_connect() -> None:
    async def never(host: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    began = time.monotonic()
    with pytest.raises(UnreachedError, match="in time"):
        await Gateway(never).connect("site.test", 443, policy("site.test", connect_timeout_s=0.1), Pins())
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("answers", [[], ["not an address"], ["fe80::1%lo"]])
async def test_a_lookup_without_a_usable_answer_is_told(answers: list[str]) -> None:
    with pytest.raises(UnreachedError):
        await Gateway(Names(site_test=[answers])).connect("site.test", 443, policy("site.test"), Pins())


async def test_the_systems_resolver_answers_and_fails_in_threads_of_its_own() -> None:
    resolver = _Resolver()
    assert "127.0.0.1" in await resolver.lookup("127.0.0.1", 80)
    with pytest.raises(OSError, match=r"."):
        await resolver.lookup("no-such-name.invalid", 80)
    answers = await asyncio.gather(*(resolver.lookup("127.0.0.1", 80) for _ in range(20)))
    assert len(answers) == 20
