"""What this version makes images from: the shipped files, their digests, and the names that follow from them. Pure but for reading them."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources

SANDBOX, DATASCIENCE = "sandbox", "datascience"
KINDS = (SANDBOX, DATASCIENCE)
REPOSITORIES = {SANDBOX: "gleitzeit/sandbox", DATASCIENCE: "gleitzeit/datascience"}
LATEST = {kind: f"{repository}:latest" for kind, repository in REPOSITORIES.items()}
INGREDIENTS = {SANDBOX: ("sandbox.Dockerfile",), DATASCIENCE: ("datascience.Dockerfile", "datascience.txt", "pip.txt")}
DEBIAN_PACKAGES = ("python3",)
RECIPE = 3  # to be raised when what is done changes otherwise than in a shipped file
PYTHONS = ("3.11", "3.14")  # oldest and newest for which the data-science image's wheels are pinned


def shipped(name: str) -> str:
    return resources.files("gleitzeit_nb.sandbox.images").joinpath(name).read_text("utf-8")


def dockerfile(kind: str) -> str:
    return shipped(f"{kind}.Dockerfile")


def pinned_base() -> str:
    """What the sandbox's Dockerfile names: a slim Python by its digest."""
    return next(line.partition("=")[2] for line in dockerfile(SANDBOX).splitlines() if line.startswith("ARG BASE="))


@functools.lru_cache(maxsize=len(KINDS))
def recipe(kind: str) -> str:
    """Changes when a new version of this package would make another image."""
    return _digest(RECIPE, DEBIAN_PACKAGES, *map(shipped, INGREDIENTS[kind]))


def name_of(kind: str, base: str) -> str:
    """`base`: what it is made from, by an id that changes with it."""
    return f"{REPOSITORIES[kind]}:{_digest(recipe(kind), base)}"


def _digest(*content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Pin:
    """One line of a lock: a version, and the sha256 of every wheel of it that may be taken."""

    name: str
    version: str
    hashes: frozenset[str]


def lock(name: str) -> tuple[Pin, ...]:
    """The pins of a shipped lock, such as datascience.txt."""
    return tuple(_pins(shipped(name)))


def _pins(text: str) -> Iterator[Pin]:
    for line in text.replace("\\\n", " ").splitlines():
        words = line.partition("#")[0].split()
        if words:
            name, _, version = words[0].partition("==")
            yield Pin(name, version, frozenset(word.removeprefix("--hash=sha256:") for word in words[1:]))
