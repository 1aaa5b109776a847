"""How much an instance has to do, and how well it has been doing it."""

from __future__ import annotations

import math
from collections import Counter, deque
from dataclasses import dataclass, field
from statistics import median

from gleitzeit_nb.core.first_tokens import FirstTokens
from gleitzeit_nb.core.series import AnswerHistory, Occupancy, TokenHistory

RECENT = 50  # requests that the error rate and the median look back on
FORGET_S = 60.0  # what was not observed again for as long is believed e times less: who was slow once is tried again
LOADS = 5  # that count in how long a load takes: they are rare, and a few differ, as a file is read from the disk or from memory
LOAD_WEIGHT = 2 / (LOADS + 1)  # of the last one: the usual relation between an exponential average's weight and its span
MODELS = 256  # bounded: the names of models come from requests


@dataclass
class PeakEwma:
    """A moving average that jumps up at once and comes down with time (`tau_s`): slow answers are believed sooner than fast ones.

    The idea is that of Finagle's peak EWMA.
    """

    tau_s: float = 10.0
    value: float | None = field(default=None, init=False)
    _at: float = field(default=0.0, init=False)

    def observe(self, sample: float, now: float) -> None:
        if self.value is None or sample >= self.value:
            self.value = sample
        else:
            keep = math.exp(-max(0.0, now - self._at) / self.tau_s)
            self.value = self.value * keep + sample * (1 - keep)
        self._at = now

    def believed(self, now: float) -> float | None:
        """The average, less the longer nothing was observed; None before the first sample."""
        return None if self.value is None else self.value * math.exp(-max(0.0, now - self._at) / FORGET_S)


@dataclass
class Pace:
    """How fast an instance is with one model. All in seconds, of requests that were answered."""

    first_token: PeakEwma = field(default_factory=PeakEwma)  # with the model loaded
    token: PeakEwma = field(default_factory=PeakEwma)  # each further one
    prompt_token: PeakEwma = field(default_factory=PeakEwma)  # to read one that it has not read before
    whole: PeakEwma = field(default_factory=PeakEwma)  # from the reserved slot to its end


@dataclass
class Load:
    """The books of one instance. Leases write them, everybody else reads."""

    in_flight: int = 0
    by_model: Counter[str] = field(default_factory=Counter)
    loading: dict[str, float] = field(default_factory=dict)  # model -> since when a request waits for it to be loaded
    load_times_s: dict[str, float] = field(default_factory=dict)  # model -> how long a load takes: an average of what was seen
    total: int = 0
    failed: int = 0
    first_tokens: FirstTokens = field(default_factory=FirstTokens)  # of loaded models
    latency: PeakEwma = field(default_factory=PeakEwma)
    tokens: TokenHistory = field(default_factory=TokenHistory)
    answers: AnswerHistory = field(default_factory=AnswerHistory)
    occupancy: Occupancy = field(default_factory=Occupancy)
    paces: dict[str, Pace] = field(default_factory=dict)  # by model
    share: float = 0.0  # what it was given so far, each request counted as 1 / weight
    _latencies_s: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))
    _median_s: float | None = None  # of those; None when it has to be looked for
    _failures: deque[bool] = field(default_factory=lambda: deque(maxlen=RECENT))
    _recent_failures: int = 0  # among those

    def begin(self, model: str, now: float) -> None:
        self.in_flight += 1
        self.occupancy.moved(self.in_flight, now)
        self.by_model[model] = self.by_model.get(model, 0) + 1

    def end(self, model: str, now: float) -> None:
        self.in_flight -= 1
        self.occupancy.moved(self.in_flight, now)
        left = self.by_model[model] - 1
        if left > 0:
            self.by_model[model] = left
        else:
            del self.by_model[model]
            self.loading.pop(model, None)

    def loaded(self, model: str, took_s: float) -> None:
        """A load has ended, after so long for the request that caused it."""
        before_s = self.load_times_s.get(model, took_s)
        self.load_times_s[model] = before_s + LOAD_WEIGHT * (took_s - before_s)

    def pace(self, model: str) -> Pace:
        """That of the model here, to be written."""
        found = self.paces.get(model)
        if found is None:
            if len(self.paces) >= MODELS:
                del self.paces[next(iter(self.paces))]
            found = self.paces[model] = Pace()
        return found

    def succeeded(self, elapsed_s: float | None, now: float) -> None:
        """`elapsed_s` None: nobody measured it."""
        self.total += 1
        self._note(False)
        if elapsed_s is not None:
            self._latencies_s.append(elapsed_s)
            self._median_s = None
            self.latency.observe(elapsed_s, now)
            self.answers.add(elapsed_s, now)

    def dropped(self) -> None:
        self.total += 1
        self.failed += 1
        self._note(True)

    def _note(self, failed: bool) -> None:
        self._recent_failures += failed - (len(self._failures) == RECENT and self._failures[0])
        self._failures.append(failed)

    @property
    def latency_s(self) -> float | None:
        """Median of the recent answers, whole; None before the first."""
        if self._median_s is None and self._latencies_s:
            self._median_s = median(self._latencies_s)
        return self._median_s

    @property
    def mean_latency_s(self) -> float | None:
        return sum(self._latencies_s) / len(self._latencies_s) if self._latencies_s else None

    @property
    def recent(self) -> int:
        """How many requests `error_rate` looks back on."""
        return len(self._failures)

    @property
    def error_rate(self) -> float | None:
        """Share of the recent requests that the instance failed; None before the first."""
        return self._recent_failures / len(self._failures) if self._failures else None
