"""Which addresses a sandbox is never connected to, in every form that they can be written in."""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit_nb.core.reachable import METADATA, embedded, parse_range, why_not

PUBLIC = ("93.184.216.34", "8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "2a00:1450:4001::1")
INSIDE = (
    *("0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.1.1", "172.16.0.1", "172.31.255.255", "192.0.0.8"),
    *(
        "192.0.2.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
    ),
    *("::", "::1", "fc00::1", "fd12:3456::1", "fe80::1", "fec0::1", "ff02::1", "2001:db8::1", "2001::1", "3fff::1", "100::1", "4000::1"),
)


def forms(address: IPv4Address) -> list[IPv6Address]:
    number = int(address)
    return [
        IPv6Address(0xFFFF << 32 | number),
        IPv6Address(number | int(IPv6Address("64:ff9b::"))),
        IPv6Address(number | int(IPv6Address("64:ff9b:1::"))),
        IPv6Address(int(IPv6Address("2002::")) | number << 80 | 1),
        IPv6Address(int(IPv6Address("::ffff:0:0:0")) | number),
    ]


@pytest.mark.parametrize("address", PUBLIC)
def test_the_public_internet_may_be_reached(address: str) -> None:
    assert why_not(ip_address(address), ()) == ""


@pytest.mark.parametrize("address", INSIDE)
def test_everything_else_may_not(address: str) -> None:
    assert why_not(ip_address(address), ()) != ""


@pytest.mark.parametrize("address", sorted(METADATA, key=str), ids=str)
def test_metadata_services_are_opened_by_their_exact_address_only(address: IPv4Address | IPv6Address) -> None:
    wide = parse_range("0.0.0.0/0" if address.version == 4 else "::/0")
    assert why_not(address, ()) == why_not(address, (wide,)) == "a cloud's metadata service"
    assert why_not(address, (parse_range(str(address)),)) == ""


@given(st.ip_addresses(v=4))
def test_a_form_of_an_address_is_never_a_way_around(address: IPv4Address) -> None:
    for form in forms(address):
        assert embedded(form) == address
        assert why_not(form, ()) != ""


@given(st.ip_addresses(v=4))
def test_an_opened_form_still_needs_its_inner_address(address: IPv4Address) -> None:
    everything = (parse_range("::/0"),)
    for form in forms(address):
        if address in METADATA:
            assert why_not(form, everything)
        else:
            assert (why_not(form, everything) == "") == (why_not(address, everything) == "")


@given(st.ip_addresses())
def test_nothing_is_reachable_that_the_standard_library_calls_private(address: IPv4Address | IPv6Address) -> None:
    odd = (
        address.is_private
        or address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_unspecified
        or address.is_reserved
    )
    if odd:
        assert why_not(address, ())


@given(st.ip_addresses(v=4), st.integers(8, 32))
def test_what_is_opened_is_the_range_and_nothing_else(address: IPv4Address, length: int) -> None:
    opened = ipaddress.ip_network((address, length), strict=False)
    for each in (address, IPv4Address(int(opened.broadcast_address) + 1 & 0xFFFFFFFF)):
        expected = each in opened and each not in METADATA
        assert (why_not(each, (opened,)) == "") == (expected or why_not(each, ()) == "") or (opened.num_addresses == 1 and each in METADATA)


@pytest.mark.parametrize("text", ["", "10.0.0.1/8", "300.1.1.1", "example.org", "fe80::1%eth0", "10.0.0.0/33", "0x7f.1"])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="should be"):
        parse_range(text)
