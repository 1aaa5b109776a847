"""What a server repeats of its key is not repeated further."""

from __future__ import annotations

import base64
import html
import json
import time
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit_nb.llm.scrubbing import MASK, WITHHELD, Scrubber

KEY = "sk-Live+4f9a/71Bd~22"
KEYS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=60).filter(
    lambda text: sum(map(str.isalnum, text)) >= 8
)

DISGUISES: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "as bearer": "Bearer {}".format,
    "split by a space": lambda key: f"{key[:7]} {key[7:]}",
    "split over lines": "\n".join,
    "split by quotes": lambda key: f"'{key[:5]}' + '{key[5:]}'",
    "in capitals": str.upper,
    "backwards": lambda key: key[::-1],
    "for URLs": lambda key: quote(key, safe=""),
    "for forms": quote_plus,
    "for URLs, all of it": lambda key: "".join(f"%{ord(char):02x}" for char in key),
    "for HTML": lambda key: "".join(f"&#{ord(char)};" for char in key),
    "for HTML, escaped": html.escape,
    "for JSON": json.dumps,
    "for JSON, all of it": lambda key: "".join(f"\\u{ord(char):04x}" for char in key),
    "hex": lambda key: key.encode().hex(),
    "base64": lambda key: base64.b64encode(key.encode()).decode(),
    "base64 for URLs": lambda key: base64.urlsafe_b64encode(key.encode()).decode().rstrip("="),
    "base64 of a pair": lambda key: base64.b64encode(f"ann:{key}".encode()).decode(),
    "base64 in the middle of more": lambda key: base64.b64encode(f'{{"authorization": "Bearer {key}"}}'.encode()).decode(),
    "base64 on several lines": lambda key: base64.encodebytes(f"authorization={key}".encode() * 3).decode(),
    "base64 twice": lambda key: base64.b64encode(base64.b64encode(key.encode())).decode(),
    "base64 for a URL": lambda key: quote(base64.b64encode(key.encode()).decode(), safe=""),
}


@pytest.mark.parametrize("disguise", DISGUISES.values(), ids=DISGUISES)
@given(key=KEYS)
def test_no_disguise_brings_a_key_through(disguise: Callable[[str], str], key: str) -> None:
    said = Scrubber([key]).clean(f"the header {disguise(key)} is not accepted")
    assert key not in said
    assert disguise(key) not in said


def test_a_key_is_masked_where_it_stands_and_the_rest_is_kept() -> None:
    assert Scrubber([KEY]).clean(f"invalid key {KEY}, see the manual") == f"invalid key {MASK}, see the manual"
    assert Scrubber([KEY]).clean(f"invalid key {KEY[::-1]}") == WITHHELD


def test_the_longer_of_two_keys_is_masked_first() -> None:
    assert Scrubber(["abcdef12", "abcdef12-more"]).clean("no abcdef12-more here") == f"no {MASK} here"


@given(st.text(max_size=300))
def test_a_text_without_the_key_stays_as_it_is(text: str) -> None:
    assert Scrubber(["jK3-no-text-holds-this-9xQ"]).clean(text) == text
    assert Scrubber([]).clean(text) == text


def test_a_beginning_at_a_cut_is_no_leak() -> None:
    said = Scrubber([KEY]).clean("x" * (4096 - 12) + KEY)
    assert KEY[:8] not in said
    assert said.endswith(MASK)


def test_a_short_password_does_not_withhold_everything() -> None:
    assert Scrubber(["a b"]).clean("a bad header: c a t") == f"{MASK}ad header: c a t"


@pytest.mark.parametrize(
    "text",
    ["QUJD" * 20_000, "%25" * 20_000, "\\u0041" * 10_000, " ".join(["deadbeefcafe"] * 5_000), "&amp;" * 20_000],
    ids=["base64", "percent", "unicode", "hex", "html"],
)
def test_a_hostile_text_costs_little(text: str) -> None:
    started = time.process_time()
    for _ in range(3):
        text = base64.b64encode(text.encode()[:200_000]).decode()
        Scrubber([KEY]).clean(text)
    assert time.process_time() - started < 5


def test_a_scrubber_shows_nothing() -> None:
    assert repr(Scrubber([KEY])) == "<Scrubber of 1>"
