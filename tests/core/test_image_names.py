"""What is a name of an image, by the grammar that registries and daemons follow."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit_nb.core.image_names import image_problem

DIGEST = "sha256:" + "0a" * 32

GOOD = [
    "python",
    "python:3.12-slim",
    "gleitzeit/datascience:latest",
    "ghcr.io/team/some_image:v1.2-rc.1",
    "localhost:5000/a/b/c",
    "registry.example.org:443/a__b/c--d.e:Tag_1",
    "[::1]:5000/image",
    f"python@{DIGEST}",
    f"python:3.12@{DIGEST}",
    DIGEST,
    "0123abcd4567",
    "UPPER.example.org/image",
]
BAD = {
    "": "no image name",
    "Python": "lower case",
    "team/Image:1": "lower case",
    "py thon": "no image name",
    "python:": "tag",
    "python:3:4": "no image name",
    "python:-x": "tag",
    "python:" + "x" * 129: "tag",
    "python@sha256:12": "digest",
    "python@": "digest",
    "/python": "no image name",
    "python/": "no image name",
    "a//b": "no image name",
    "-python": "no image name",
    "../python": "no image name",
    "python\n": "no image name",
    "python\0": "no image name",
    "pythön": "no image name",
    "x" * 256: "at most 255",
    "http://example.org/image": "no image name",
    "a..b": "no image name",
}


@pytest.mark.parametrize("name", GOOD)
def test_what_a_daemon_takes_is_a_name(name: str) -> None:
    assert image_problem(name) == ""


@pytest.mark.parametrize(("name", "says"), BAD.items())
def test_what_is_none_is_told_why(name: str, says: str) -> None:
    assert says in image_problem(name)


PART = st.from_regex(r"[a-z0-9]{1,8}((\.|_|__|-)[a-z0-9]{1,4})?", fullmatch=True)


@given(
    st.lists(PART, min_size=1, max_size=3),
    st.none() | st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True),
    st.none() | st.sampled_from(["localhost:5000", "ghcr.io", "a-b.example.org:1"]),
)
def test_names_that_are_put_together_by_the_grammar_are_names(parts: list[str], tag: str | None, host: str | None) -> None:
    assert image_problem("/".join([*([host] if host else []), *parts]) + (f":{tag}" if tag else "")) == ""


@given(st.text(max_size=300))
def test_any_text_is_answered(name: str) -> None:
    assert isinstance(image_problem(name), str)
