"""Packages that a run wants beside those of its image, as lines of pip's requirements: names, versions, hashes, and nothing that acts."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

# PEP 508 without addresses: a name, extras, versions, a marker.
_VERSION = r"(?:===|~=|==|!=|<=|>=|<|>)\s*[A-Za-z0-9.*+!_-]+"
_REQUIREMENT = re.compile(
    rf"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?\s*(?:\[[A-Za-z0-9._\-, ]*\])?\s*(?:{_VERSION}(?:\s*,\s*{_VERSION})*)?\s*"
    r"(?:;[A-Za-z0-9_.'\"()<>=!~ ,+*-]+)?"
)
_HASH = re.compile(r"\s--hash[= ]sha256:([0-9a-f]{64})(?=\s|$)")
MOST_LINES = 500
MOST_CHARS = 256 << 10


@dataclass(frozen=True)
class Requirements:
    """`lines` are single, sorted and without comments. `hashed`: every line names the sha256 of its wheels, and nothing else is taken."""

    lines: tuple[str, ...]

    @classmethod
    def of(cls, text: str | Iterable[str]) -> Requirements:
        """The text of a requirements file, or single requirements. Raises ValueError with the line that cannot be taken."""
        whole = text if isinstance(text, str) else "\n".join(text)
        if len(whole) > MOST_CHARS:
            raise ValueError(f"requirements have at most {MOST_CHARS >> 10} KiB")
        lines = tuple(sorted(dict.fromkeys(_lines(whole))))
        if len(lines) > MOST_LINES:
            raise ValueError(f"at most {MOST_LINES} requirements are taken, not {len(lines)}")
        found = cls(lines)
        if any("--hash" in line for line in lines) and not found.hashed:
            bare = next(line for line in lines if "--hash" not in line)
            raise ValueError(f"{bare!r} has no hash while others have one: pip takes all or none")
        return found

    @property
    def hashed(self) -> bool:
        return bool(self.lines) and all("--hash" in line for line in self.lines)

    @property
    def digest(self) -> str:
        return hashlib.sha256("\n".join(self.lines).encode()).hexdigest()

    @property
    def text(self) -> str:
        """As a file for pip."""
        return "".join(f"{line}\n" for line in self.lines)

    @property
    def short(self) -> str:
        """For people: without hashes."""
        return ", ".join(line.partition(" --hash")[0] for line in self.lines)


def _lines(text: str) -> Iterator[str]:
    for line in re.sub(r"\\\r?\n", " ", text).splitlines():
        line = re.sub(r"(^|\s)#.*", "", line).strip()
        if line:
            yield _checked(line)


def _checked(line: str) -> str:
    hashes = sorted(set(_HASH.findall(line)))
    requirement = " ".join(_HASH.sub("", line).split())
    if requirement.startswith("-") or "--" in requirement:
        raise ValueError(f"{requirement[:80]!r} is an option of pip; requirements are names and versions, such as seaborn==0.13.2")
    if not _REQUIREMENT.fullmatch(requirement):
        raise ValueError(
            f"{requirement[:80]!r} is no requirement: names and versions are, such as seaborn==0.13.2; addresses and paths are not"
        )
    wanted, semicolon, marker = requirement.partition(";")
    plain = "".join(wanted.split()) + (f" ; {marker.strip()}" if semicolon else "")
    return " ".join([plain, *(f"--hash=sha256:{each}" for each in hashes)])
