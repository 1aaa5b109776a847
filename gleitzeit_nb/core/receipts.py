"""What became of one request, as one record to keep: who could have answered, who was tried, who did, and how long each part took.

Neither prompts nor answers stand in it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from gleitzeit_nb.core.candidates import Standing, Verdict
from gleitzeit_nb.core.instances import Instance
from gleitzeit_nb.core.requests import Attempt, Source, Usage
from gleitzeit_nb.core.strategies import Score, Scores

SCHEMA_VERSION = 1

Outcome = Literal["ok", "failed", "cancelled"]
KnownBy = Literal["/api/ps", "tag", "unknown"]


@dataclass(frozen=True)
class ReceiptSettings:
    """`file`: where each receipt is appended as a line of JSON; None: they are kept in memory only. `prompts`: with what was asked and
    answered. A file that would pass `max_bytes` is moved aside, and `keep` of those are kept."""

    file: str | None = None
    prompts: bool = False
    max_bytes: int = 64 << 20
    keep: int = 3


@dataclass(frozen=True)
class Candidate:
    """One instance at the last pick, and how it was judged: what a `Verdict` holds, put into words only when somebody reads them.

    `score`: what the strategy gave it, the lowest wins; None: there was nobody to compare it with.
    """

    instance: str
    judged: Standing
    a: object = None
    b: object = None
    score: Score | None = None

    @property
    def standing(self) -> str:
        """In one word."""
        return self.judged.name.lower()

    @property
    def text(self) -> str:
        """In words for people."""
        return self.judged.text(self.a, self.b)

    def to_dict(self) -> dict[str, Any]:
        return {"instance": self.instance, "standing": self.standing, "text": self.text, "score": self.score}


@dataclass(frozen=True)
class Gpu:
    """Where the model lay. `share`: size_vram / size, when `/api/ps` said it; a `gpu` tag is only the configuration's word."""

    share: float | None = None
    known_by: KnownBy = "unknown"


@dataclass(frozen=True)
class Timings:
    """Seconds from the request's arrival at the pool. `queue_s`: all waits for a slot. None: it did not come to that."""

    queue_s: float
    total_s: float
    first_token_s: float | None = None


@dataclass(frozen=True)
class Receipt:
    """`at`: wall clock at the end (s since the epoch). `instance`, `model`, `digest`, `gpu`: of who answered, else of the last try.

    `cold`: the model was not known to be loaded. `error`: the class of the error; "" without one. "" and None elsewhere: not known.
    `source` other than "instance": nobody was asked, nothing was generated; `digest` is that of the model that answered the first time.
    """

    request_id: str
    at: float
    kind: str
    label: str
    outcome: Outcome
    error: str
    model: str
    digest: str
    instance: str
    strategy: str
    cold: bool | None
    candidates: tuple[Candidate, ...]
    tries: tuple[Attempt, ...]
    timings: Timings
    usage: Usage
    gpu: Gpu
    done_reason: str = ""
    alias: str = ""  # the name that was asked for, where it stood for others
    source: Source = "instance"
    session: str = ""  # the conversation that it was part of, in a notebook the thread's name
    schema_version: int = field(default=SCHEMA_VERSION)

    @property
    def retries(self) -> int:
        return max(0, len(self.tries) - 1)

    @property
    def tokens_per_s(self) -> float | None:
        return self.usage.tokens_per_s

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON, with what follows from the rest (`retries`, `tokens_per_s`) written out."""
        plain = _plain(asdict(replace(self, candidates=())) | {"candidates": [each.to_dict() for each in self.candidates]})
        return {"schema_version": self.schema_version, **plain, "retries": self.retries, "tokens_per_s": self.tokens_per_s}


def candidates_of(verdicts: Iterable[Verdict], scores: Scores = ()) -> tuple[Candidate, ...]:
    known = dict(scores)
    return tuple([Candidate(one.settings.id, standing, a, b, known.get(one.settings.id)) for one, standing, a, b in verdicts])


def gpu_of(instance: Instance, model: str) -> Gpu:
    """What is known now of where that model lies on that instance."""
    entry = instance.loaded.get(model)
    if entry is not None and entry.gpu_share is not None:
        return Gpu(entry.gpu_share, "/api/ps")
    return Gpu(None, "tag") if "gpu" in instance.settings.tags else Gpu()


def _plain(value: Any) -> Any:
    """JSON has lists and no infinity."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
