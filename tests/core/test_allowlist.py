"""Which hosts a rule means: one form of a name, wildcards, ports, and deny by default."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit_nb.core.allowlist import USUAL_PORTS, Rule, first_match, normal_host, parse_rule, split_authority

LABEL = st.from_regex(r"[a-z]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
NAME = st.lists(LABEL, min_size=2, max_size=5).map(".".join)
PORT = st.integers(1, 65535)


@pytest.mark.parametrize(
    ("rule", "host", "port", "fits"),
    [
        ("example.org", "example.org", 443, True),
        ("example.org", "example.org", 80, True),
        ("example.org", "example.org", 8443, False),
        ("example.org", "example.org", 25, False),
        ("example.org:8443", "example.org", 8443, True),
        ("example.org:8443", "example.org", 443, False),
        ("example.org", "www.example.org", 443, False),
        ("example.org", "notexample.org", 443, False),
        ("example.org", "example.org.evil.com", 443, False),
        ("*.example.org", "www.example.org", 443, True),
        ("*.example.org", "a.b.example.org", 443, True),
        ("*.example.org", "example.org", 443, False),
        ("*.example.org", "evilexample.org", 443, False),
        ("*.example.org:22", "git.example.org", 22, True),
        ("93.184.216.34", "93.184.216.34", 443, True),
        ("[2606:2800:220:1::1]:8080", "2606:2800:220:1::1", 8080, True),
        ("2606:2800:220:1:0:0:0:1", "2606:2800:220:1::1", 443, True),
        ("localhost:11434", "localhost", 11434, True),
    ],
)
def test_a_rule_allows_what_it_names(rule: str, host: str, port: int, fits: bool) -> None:
    assert parse_rule(rule).matches(normal_host(host), port) is fits


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("Example.ORG", "example.org"),
        ("example.org.", "example.org"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example.", "xn--bcher-kva.example"),
        ("straße.de", "xn--strae-oqa.de"),
        ("例え。jp", "xn--r8jz45g.jp"),  # an ideographic full stop is a dot
        ("ｅｘａｍｐｌｅ.org", "example.org"),
        ("１２７.０.０.１", "127.0.0.1"),
        ("::FFFF:127.0.0.1", "::ffff:7f00:1"),
        ("0:0:0:0:0:0:0:1", "::1"),
        ("_dmarc.example.org", "_dmarc.example.org"),
    ],
)
def test_names_have_one_form(written: str, normal: str) -> None:
    found = normal_host(written)
    assert found == normal or ipaddress.ip_address(found) == ipaddress.ip_address(normal)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            ".",
            "..",
            "a..b",
            "-a.org",
            "a-.org",
            "a b.org",
            "exa\0mple.org",
            "a" * 64 + ".org",
            "a." * 130 + "org",
            "a/b",
            "a@b.org",
            "*",
        ),
        *("127.1", "2130706433", "0x7f.0.0.1", "0x7f000001", "0177.0.0.1", "127.0.0.0x1", "1.2.3", "1.2.3.4.5", "256.1.1.1", "127.0.0.01"),
        *("fe80::1%eth0", "::g", ":::", "[::1]", "exam\u00adple\u0000.org", "a\r\nb.org", "%31.org"),
    ],
)
def test_what_is_no_plain_name_or_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="it is"):
        normal_host(text)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "https://example.org",
            "example.org/path",
            "10.0.0.0/8",
            "*",
            "*.org",
            "*.com:443",
            "*.*.org",
            "a.*.org",
            "exa*.org",
            "*example.org",
        ),
        *(
            "example.org:0",
            "example.org:65536",
            "example.org:http",
            "example.org:",
            "example.org:٤٤٣",
            "[::1",
            "[::1]443",
            "*.127.0.0.1",
            "",
            " ",
        ),
    ],
)
def test_what_is_no_rule_is_refused_with_its_text(text: str) -> None:
    with pytest.raises(ValueError, match=r"should be a host|cannot be allowed"):
        parse_rule(text)


@given(NAME, st.none() | PORT, st.booleans())
def test_a_rule_reads_back_as_it_is_written(name: str, port: int | None, below: bool) -> None:
    rule = Rule(name, port, below)
    assert parse_rule(str(rule)) == rule


@given(NAME, PORT)
def test_no_rule_means_no_host(name: str, port: int) -> None:
    assert first_match((), name, port) is None


@given(st.lists(NAME, max_size=5), NAME, PORT)
def test_exact_rules_allow_nothing_but_their_names(names: list[str], host: str, port: int) -> None:
    found = first_match([Rule(name) for name in names], host, port)
    assert (found is not None) == (host in names and port in USUAL_PORTS)


@given(NAME, NAME)
def test_a_wildcard_allows_exactly_what_ends_in_it_behind_a_dot(base: str, host: str) -> None:
    rule = Rule(base, below=True)
    assert rule.matches(f"{host}.{base}", 443)
    assert not rule.matches(base, 443)
    assert not rule.matches(f"x{base}", 443)
    assert rule.matches(host, 443) == host.endswith("." + base)


@given(st.text(max_size=60))
def test_any_text_has_a_normal_form_or_none_and_the_form_is_stable(text: str) -> None:
    try:
        once = normal_host(text)
    except ValueError:
        return
    assert once.isascii()
    assert once == once.lower()
    assert normal_host(once) == once


@given(st.ip_addresses(), PORT)
def test_an_address_and_its_port_are_taken_apart(address: ipaddress.IPv4Address, port: int) -> None:
    written = f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"
    host, found = split_authority(written)
    assert (ipaddress.ip_address(host), found) == (address, port)
