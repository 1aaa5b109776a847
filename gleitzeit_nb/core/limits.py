"""How many requests and tokens an instance may be given in a minute: token buckets that fill evenly."""

from __future__ import annotations

from dataclasses import dataclass, field

BURST_S = 10.0  # what may come at once: the share of ten seconds, at least one


@dataclass
class TokenBucket:
    """`level` may fall below zero: what an answer takes is known only when it is there, and is then waited off."""

    per_minute: float
    level: float = field(init=False)
    _at: float | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.level = self.capacity

    def __repr__(self) -> str:
        return f"<TokenBucket {self.level:.1f} of {self.capacity:g}, {self.per_minute:g} a minute>"

    @property
    def capacity(self) -> float:
        return max(1.0, self.per_minute * BURST_S / 60)

    def ready_at(self, now: float) -> float | None:
        """When there is one to take; None: now."""
        if self.level >= 1.0:
            return None  # it only grows by waiting
        self._fill(now)
        missing = 1.0 - self.level
        return now + missing * 60 / self.per_minute if missing > 1e-9 else None

    def take(self, count: float, now: float) -> None:
        """Less than nothing gives back what was taken too much."""
        self._fill(now)
        self.level = min(self.capacity, self.level - count)

    def _fill(self, now: float) -> None:
        if self._at is not None:
            self.level = min(self.capacity, self.level + max(0.0, now - self._at) * self.per_minute / 60)
        self._at = now


@dataclass
class RateLimits:
    """The limits of one instance. A request takes what the last ones took on average, and settles when it ends."""

    requests: TokenBucket | None = None
    tokens: TokenBucket | None = None
    usual_tokens: float = 0.0

    @classmethod
    def of(cls, requests_per_minute: float | None, tokens_per_minute: float | None) -> RateLimits | None:
        """None: there is no limit."""
        if requests_per_minute is None and tokens_per_minute is None:
            return None
        requests, tokens = (None if each is None else TokenBucket(each) for each in (requests_per_minute, tokens_per_minute))
        return cls(requests, tokens)

    def ready_at(self, now: float) -> float | None:
        """When the next request may begin; None: now."""
        by_count = None if self.requests is None else self.requests.ready_at(now)
        by_tokens = None if self.tokens is None else self.tokens.ready_at(now)
        if by_count is None or by_tokens is None:
            return by_tokens if by_count is None else by_count
        return max(by_count, by_tokens)

    def begin(self, now: float) -> float:
        """A request begins. The tokens that it was charged for now."""
        if self.requests is not None:
            self.requests.take(1.0, now)
        if self.tokens is None:
            return 0.0
        self.tokens.take(self.usual_tokens, now)
        return self.usual_tokens

    def settle(self, charged: float, tokens: int, now: float) -> None:
        """It has ended, and has taken so many tokens."""
        if self.tokens is None:
            return
        self.tokens.take(tokens - charged, now)
        if tokens:
            self.usual_tokens += (tokens - self.usual_tokens) / 8 if self.usual_tokens else tokens
