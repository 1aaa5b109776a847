"""Where this machine gets its packages from, so that an image is made of the same release, from the same mirror."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DISTRIBUTIONS = ("debian", "ubuntu")


@dataclass(frozen=True)
class Source:
    """`mirror` "": the sources name none for the suite, so debootstrap takes the distribution's own."""

    suite: str
    mirror: str


def find_source(etc: Path = Path("/etc")) -> Source | None:
    """None where the machine is neither Debian nor Ubuntu."""
    release = dict(_assignments(etc / "os-release"))
    distribution, suite = release.get("ID", ""), release.get("VERSION_CODENAME", "")
    if distribution not in DISTRIBUTIONS or not suite:
        return None
    files = [etc / "apt/sources.list", *sorted((etc / "apt/sources.list.d").glob("*"))]
    for path in files:
        if path.is_file():
            for mirror, suites in _entries(path):
                if suite in suites:
                    return Source(suite, mirror.rstrip("/"))
    return Source(suite, "")


def _assignments(path: Path) -> Iterator[tuple[str, str]]:
    if path.is_file():
        for line in path.read_text("utf-8", "replace").splitlines():
            name, _, value = line.partition("=")
            yield name.strip(), value.strip().strip("\"'")


def _entries(path: Path) -> Iterator[tuple[str, list[str]]]:
    """(mirror, suites) of each enabled binary entry, in both of apt's formats (sources.list(5))."""
    text = path.read_text("utf-8", "replace")
    if path.suffix == ".sources":
        for stanza in text.split("\n\n"):
            fields = dict(_fields(stanza))
            if "deb" in fields.get("types", "").split() and fields.get("enabled", "yes").lower() != "no":
                for uri in fields.get("uris", "").split():
                    yield uri, fields.get("suites", "").split()
    elif path.suffix in (".list", ""):
        for line in text.splitlines():
            words = [word for word in line.partition("#")[0].split() if "=" not in word and word not in "[]"]
            if len(words) >= 3 and words[0] == "deb":
                yield words[1], [words[2]]


def _fields(stanza: str) -> Iterator[tuple[str, str]]:
    for line in stanza.splitlines():
        name, colon, value = line.partition(":")
        if colon and not line.startswith(("#", " ", "\t")):
            yield name.strip().lower(), value.strip()
