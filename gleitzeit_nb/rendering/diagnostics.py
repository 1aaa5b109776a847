"""Everything that helps somebody else to see what is wrong, as text to be pasted: redacted of what is nobody else's business. Pure.

Left out are keys, prompts, code, names of sessions, other machines' addresses, and folders. Models, instances' ids and modes stay.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from gleitzeit_nb.core.addresses import is_loopback
from gleitzeit_nb.core.plain import clean
from gleitzeit_nb.rendering.text import findings_text, status_text
from gleitzeit_nb.snapshot import SecurityView

if TYPE_CHECKING:
    from gleitzeit_nb.config import Config
    from gleitzeit_nb.doctor import Finding
    from gleitzeit_nb.snapshot import Snapshot

MOST_CHARS = 60_000
_TELLING_CHARS = 4  # a shorter host name is hidden in addresses alone: it would be found everywhere
_ADDRESS = re.compile(r"\b([a-z][a-z0-9+.-]{1,20})://([^\s\"'<>,;)}]*)", re.IGNORECASE)
_PATH = re.compile(r"(?<![\w:/.…~])~?(?:/[^\s/\"'<>:,;()\[\]{}]+){2,}")
_COMMON = ("/var/run/docker.sock", "/run/docker.sock", "/usr/bin/", "/proc/", "/sys/")


def diagnostics_text(versions: Mapping[str, str], config: Config, findings: Sequence[Finding], snapshot: Snapshot | None) -> str:
    """`snapshot` None: nothing runs yet. `versions`: of this package, Python and what it stands on."""
    parts = ["gleitzeit-nb: diagnostics", "Versions\n" + "\n".join(f"  {name} {version}" for name, version in versions.items())]
    parts += ["Doctor\n" + findings_text(findings)] if findings else []
    parts.append("Configuration\n" + json.dumps(config.describe(), indent=1, ensure_ascii=False, default=str))
    parts.append(_state(snapshot) if snapshot is not None else "State\n  nothing runs yet")
    text = Redaction(_hosts(config, snapshot)).of(clean("\n\n".join(parts)))
    return text if len(text) <= MOST_CHARS else text[: MOST_CHARS - 20].rstrip() + "\n… (cut here)"


def _state(snapshot: Snapshot) -> str:
    """Without texts that people or untrusted code wrote."""
    told = replace(snapshot, sessions=(), runs=(), security=SecurityView(snapshot.security.counts))
    going_on = [f"  {run.kind} {run.where or '-'} {run.elapsed_s:.0f} s, {run.tokens} tokens" for run in snapshot.runs]
    lines = [f"  {snapshot.runs_total} requests and runs, {len(snapshot.sessions)} sessions", *going_on]
    lines += [f"  {each.state} {each.mode} {each.image or '-'}, {each.runs} runs" for each in snapshot.container_list]
    return f"State\n{status_text(told)}\n\nGoing on\n" + "\n".join(lines)


def _hosts(config: Config, snapshot: Snapshot | None) -> Iterable[str]:
    urls = [each.url for each in config.pool.instances] + list(config.discovery_urls)
    urls += [each.url for each in snapshot.instances] if snapshot is not None else []
    accesses = (config.pool.access, *config.pool.instances)
    urls += [each.proxy.url for each in accesses if each.proxy is not None]
    return dict.fromkeys(host for url in urls if not is_loopback(url) and (host := _host(urlsplit(url).netloc)))


class Redaction:
    """The same host gets the same number wherever it stands."""

    def __init__(self, hosts: Iterable[str] = ()) -> None:
        self._numbers: dict[str, int] = {}
        for host in hosts:
            self._name(host)

    def __repr__(self) -> str:
        return f"<Redaction of {len(self._numbers)} hosts>"

    def of(self, text: str) -> str:
        text = _ADDRESS.sub(self._address, text)
        for host in sorted(self._numbers, key=len, reverse=True):
            if len(host) >= _TELLING_CHARS:
                text = re.sub(rf"(?<![\w.-]){re.escape(host)}(?![\w-])", self._name(host), text, flags=re.IGNORECASE)
        return _PATH.sub(_path, text)

    def _address(self, match: re.Match[str]) -> str:
        """Without user, path and query, which may hold anything."""
        scheme, rest = match[1], match[2]
        if scheme.lower() in ("unix", "npipe", "file"):
            return f"{scheme}://{_path_text(rest)}"
        place = re.split(r"[/?#\\]", rest, maxsplit=1)[0].rpartition("@")[2]
        if is_loopback(f"http://{place}"):
            return f"{scheme}://{place}"
        host = _host(place)
        return f"{scheme}://{self._name(host)}{place[len(host) :]}" if host else f"{scheme}://…"

    def _name(self, host: str) -> str:
        return f"(host {self._numbers.setdefault(host.lower(), len(self._numbers) + 1)})"


def _host(place: str) -> str:
    """Of "host:port" or "[address]:port", perhaps with a user before it."""
    place = place.rpartition("@")[2]
    return place[: place.index("]") + 1] if place.startswith("[") and "]" in place else place.partition(":")[0]


def _path(match: re.Match[str]) -> str:
    return _path_text(match[0])


def _path_text(path: str) -> str:
    """The last part of it alone, unless it is the same on every machine."""
    return path if path.startswith(_COMMON) else f"…/{path.rstrip('/').rpartition('/')[2]}"
