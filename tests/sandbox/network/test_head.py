"""What a proxy takes for a request, and what it makes of it: one meaning, or none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit_nb.sandbox.network.head import Asked, BadHeadError, answer, parse_request, response_head


def request(first: str, *lines: str) -> bytes:
    return "\r\n".join([first, *lines, "", ""]).encode("latin-1")


def plain(*lines: str, target: str = "http://example.org/a?b", method: str = "GET") -> Asked:
    return parse_request(request(f"{method} {target} HTTP/1.1", "Host: example.org", *lines))


@pytest.mark.parametrize(
    ("target", "host", "port"),
    [
        ("example.org:443", "example.org", 443),
        ("EXAMPLE.org.:8443", "example.org", 8443),
        ("192.0.2.1:443", "192.0.2.1", 443),
        ("[2001:db8:0::1]:443", "2001:db8::1", 443),
    ],
)
def test_connect_names_a_place(target: str, host: str, port: int) -> None:
    asked = parse_request(request(f"CONNECT {target} HTTP/1.1", f"Host: {target}"))
    assert (asked.host, asked.port, asked.tunnel) == (host, port, True)


def test_a_plain_request_is_written_anew_for_the_server() -> None:
    asked = plain("Accept: */*", "Proxy-Authorization: Basic eDp5", "Connection: keep-alive, X-Mine", "X-Mine: 1", "Keep-Alive: 5")
    assert asked.head == b"GET /a?b HTTP/1.1\r\nHost: example.org\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    assert (asked.host, asked.port, asked.body_bytes) == ("example.org", 80, 0)


@pytest.mark.parametrize(
    ("target", "first"),
    [
        ("http://example.org", b"GET / "),
        ("HTTP://Example.Org:80/x#fragment", b"GET /x "),
        ("http://example.org?q", b"GET /?q "),
        ("http://example.org//evil.org/x", b"GET //evil.org/x "),
    ],
)
def test_what_follows_the_host_is_the_path(target: str, first: bytes) -> None:
    asked = plain(target=target)
    assert (asked.host, asked.head[: len(first)]) == ("example.org", first)


@pytest.mark.parametrize(
    "head",
    [
        request("GET / HTTP/1.1", "Host: example.org"),
        request("GET https://example.org/ HTTP/1.1", "Host: example.org"),
        request("GET ftp://example.org/ HTTP/1.1", "Host: example.org"),
        request("GET http://example.org/ HTTP/2.0", "Host: example.org"),
        request("GET http://example.org/  HTTP/1.1", "Host: example.org"),
        request("GET http://example.org/\x0b HTTP/1.1", "Host: example.org"),
        request("GET http://user@example.org/ HTTP/1.1", "Host: example.org"),
        request("GET http://example.org@evil.org/ HTTP/1.1", "Host: example.org"),
        request("GET http://127.1/ HTTP/1.1", "Host: 127.1"),
        request("GET http://0x7f000001/ HTTP/1.1", "Host: 0x7f000001"),
        request("GET http://b\xfccher.example/ HTTP/1.1", "Host: b\xfccher.example"),
        request("GET http://example.org\\@evil.org/ HTTP/1.1", "Host: example.org"),
        request("GET http:// HTTP/1.1", "Host: example.org"),
        request("GET http://example.org/ HTTP/1.1"),
        request("GET http://example.org/ HTTP/1.1", "Host: evil.org"),
        request("GET http://example.org/ HTTP/1.1", "Host: example.org:81"),
        request("GET http://example.org/ HTTP/1.1", "Host: example.org", "Host: evil.org"),
        request("GET http://example.org/ HTTP/1.1", "Host: example.org", "host: example.org"),
        request("GET http://example.org/ HTTP/1.1", "Host : example.org"),
        request("GET http://example.org/ HTTP/1.1", "Host: example.org", " folded: yes"),
        request("GET http://example.org/ HTTP/1.1", "Host: example.org", "X: a\nHost: evil.org"),
        request("GET http://example.org/ HTTP/1.1", "Host: example.org", "X: a\rb"),
        request("GET http://example.org/ HTTP/1.1", "Host: example.org", "X: a\0b"),
        request("GET http://example.org/ HTTP/1.1", "Host: example.org", "no colon"),
        request("POST http://example.org/ HTTP/1.1", "Host: example.org", "Transfer-Encoding: chunked"),
        request("POST http://example.org/ HTTP/1.1", "Host: example.org", "Content-Length: 5", "Transfer-Encoding: chunked"),
        request("POST http://example.org/ HTTP/1.1", "Host: example.org", "Content-Length: 5", "Content-Length: 6"),
        request("POST http://example.org/ HTTP/1.1", "Host: example.org", "Content-Length: 5, 5"),
        request("POST http://example.org/ HTTP/1.1", "Host: example.org", "Content-Length: +5"),
        request("POST http://example.org/ HTTP/1.1", "Host: example.org", "Content-Length: -1"),
        request("POST http://example.org/ HTTP/1.1", "Host: example.org", "Content-Length: 0x5"),
        request("POST http://example.org/ HTTP/1.1", "Host: example.org", "Content-Length: \xb2"),
        request("CONNECT example.org HTTP/1.1", "Host: example.org"),
        request("CONNECT example.org:0 HTTP/1.1", "Host: example.org"),
        request("CONNECT example.org:65536 HTTP/1.1", "Host: example.org"),
        request("CONNECT ::1:443 HTTP/1.1", "Host: ::1"),
        request("CONNECT [::1%lo]:443 HTTP/1.1", "Host: x"),
        request("CONNECT http://example.org:443 HTTP/1.1", "Host: x"),
        request("CONNECT example.org:443 HTTP/1.1", "Content-Length: 5"),
        request("CONNECT example.org:443 HTTP/1.1", "Transfer-Encoding: chunked"),
        b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n\r\n",
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(head: bytes) -> None:
    with pytest.raises(BadHeadError):
        parse_request(head)


def test_a_connection_header_cannot_take_away_what_was_judged() -> None:
    asked = plain("Connection: host, content-length", "Content-Length: 5", method="POST")
    assert b"Host: example.org\r\n" in asked.head
    assert b"Content-Length: 5\r\n" in asked.head
    assert asked.body_bytes == 5


LINES = st.lists(st.binary(max_size=40), max_size=6)


@given(st.sampled_from([b"GET", b"POST", b"CONNECT", b"X"]), st.binary(max_size=40), LINES)
def test_whatever_comes_is_one_request_for_one_host_or_none(method: bytes, target: bytes, lines: list[bytes]) -> None:
    head = b"\r\n".join([method + b" http://example.org/" + target + b" HTTP/1.1", b"Host: example.org", *lines]) + b"\r\n\r\n"
    try:
        asked = parse_request(head.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
    except BadHeadError:
        return
    assert asked.host == "example.org"
    assert asked.head.count(b"\r\n\r\n") == 1
    assert asked.head.endswith(b"\r\n\r\n")
    rows = asked.head[:-4].split(b"\r\n")
    assert not any(byte in row for row in rows for byte in (b"\r", b"\n", b"\0"))
    names = [row.partition(b":")[0].lower() for row in rows[1:]]
    assert names.count(b"host") == 1
    assert names.count(b"content-length") <= 1
    assert not {b"transfer-encoding", b"upgrade", b"proxy-authorization", b"te"} & set(names)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for parse in (parse_request, response_head):
        try:
            parse(data + b"\r\n\r\n")
        except BadHeadError:
            continue


@pytest.mark.parametrize(
    ("head", "seen"),
    [
        (b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nX: 3\r\n", b"HTTP/1.1 200 OK\r\nX: 3\r\nConnection: close\r\n\r\n"),
        (b"HTTP/1.1 100 Continue\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n", b"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"),
    ],
)
def test_an_answer_says_that_the_connection_serves_one_request(head: bytes, seen: bytes) -> None:
    assert response_head(head + b"\r\n")[1] == seen


@pytest.mark.parametrize("first", [b"HTTP/1.1 101 Switching", b"ICY 200 OK", b"HTTP/1.1 20", b"HTTP/1.1 200 a\nb", b""])
def test_an_answer_that_is_none_is_not_passed_on(first: bytes) -> None:
    with pytest.raises(BadHeadError):
        response_head(first + b"\r\n\r\n")


def test_an_own_answer_says_its_reason_in_the_first_line_and_in_words() -> None:
    said = answer(403, "No: ünd", "Words ü.\n")
    assert said.startswith(b"HTTP/1.1 403 No: ?nd\r\n")
    assert said.endswith(b"\r\n\r\nWords \xc3\xbc.\n")
    assert b"Content-Length: 10\r\n" in said
