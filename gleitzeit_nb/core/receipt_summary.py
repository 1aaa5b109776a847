"""Many receipts, as they were written to a file, in one row for each model on each instance."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Summary:
    """Durations in seconds, over the requests that were answered; None: none told it. `tokens_per_s`: all tokens over all their time.

    `source` other than "instance": no instance was asked.
    """

    instance: str
    model: str
    source: str
    requests: int
    ok: int
    failed: int
    cancelled: int
    retries: int
    p50_s: float | None
    p95_s: float | None
    first_token_p50_s: float | None
    queue_p95_s: float | None
    tokens: int
    tokens_per_s: float | None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class _Group:
    outcomes: Counter[str] = field(default_factory=Counter)
    retries: int = 0
    total_s: list[float] = field(default_factory=list)
    first_token_s: list[float] = field(default_factory=list)
    queue_s: list[float] = field(default_factory=list)
    tokens: int = 0
    timed_tokens: int = 0
    completion_s: float = 0.0

    def add(self, receipt: Mapping[str, Any]) -> None:
        self.outcomes[str(receipt.get("outcome"))] += 1
        self.retries += int(_number(receipt.get("retries")) or 0)
        if receipt.get("outcome") != "ok":
            return
        timings, usage = _part(receipt, "timings"), _part(receipt, "usage")
        for name, values in (("total_s", self.total_s), ("first_token_s", self.first_token_s), ("queue_s", self.queue_s)):
            value = _number(timings.get(name))
            values += [] if value is None else [value]
        tokens, seconds = _number(usage.get("completion_tokens")), _number(usage.get("completion_s"))
        self.tokens += int(tokens or 0)
        if tokens and seconds:
            self.timed_tokens += int(tokens)
            self.completion_s += seconds

    def summary(self, instance: str, model: str, source: str) -> Summary:
        return Summary(
            instance=instance,
            model=model,
            source=source,
            requests=sum(self.outcomes.values()),
            ok=self.outcomes["ok"],
            failed=self.outcomes["failed"],
            cancelled=self.outcomes["cancelled"],
            retries=self.retries,
            p50_s=percentile(self.total_s, 50),
            p95_s=percentile(self.total_s, 95),
            first_token_p50_s=percentile(self.first_token_s, 50),
            queue_p95_s=percentile(self.queue_s, 95),
            tokens=self.tokens,
            tokens_per_s=self.timed_tokens / self.completion_s if self.completion_s else None,
        )


def summarise(receipts: Iterable[Mapping[str, Any]]) -> list[Summary]:
    """Sorted by instance and model. A request that nobody was asked for stands under the instance "", by where its answer came from."""
    groups: dict[tuple[str, str, str], _Group] = {}
    for receipt in receipts:
        source = _word(receipt.get("source")) or "instance"  # receipts of the first version did not say
        groups.setdefault((_word(receipt.get("instance")), _word(receipt.get("model")), source), _Group()).add(receipt)
    return [group.summary(*names) for names, group in sorted(groups.items())]


def percentile(values: Sequence[float], percent: float) -> float | None:
    """By nearest rank: a value that was really seen. None of nothing."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def is_receipt(value: object) -> bool:
    """As `Receipt.to_dict` makes them, of this schema version or a later one that only adds."""
    return isinstance(value, dict) and isinstance(value.get("schema_version"), int) and isinstance(value.get("outcome"), str)


def _part(receipt: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = receipt.get(name)
    return part if isinstance(part, Mapping) else {}


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) and value >= 0 else None


def _word(value: object) -> str:
    return value if isinstance(value, str) else ""
