"""Receipts as a pool makes them: one of an answered request, one of a lost one."""

from __future__ import annotations

from gleitzeit_nb.core.receipts import Gpu, Receipt, Timings
from gleitzeit_nb.core.requests import Attempt, Usage

ANSWERED = Receipt(
    request_id="r1",
    at=0.0,
    kind="chat",
    label="[3] %%llm",
    outcome="ok",
    error="",
    model="phi:latest",
    digest="0123456789abcdef" * 4,
    instance="gpu",
    strategy="least_loaded",
    cold=False,
    candidates=(),
    tries=(Attempt("desk", "refused", "", 0.1), Attempt("gpu", "ok", "", 1.0)),
    timings=Timings(0.012, 1.25, 0.2),
    usage=Usage(completion_tokens=20, completion_s=0.5),
    gpu=Gpu(0.5, "/api/ps"),
)
LOST = Receipt(
    request_id="r2",
    at=0.0,
    kind="chat",
    label="",
    outcome="failed",
    error="NoInstanceError",
    model="evil\x1b[2J",
    digest="",
    instance="",
    strategy="least_loaded",
    cold=None,
    candidates=(),
    tries=(),
    timings=Timings(0.0, 0.0),
    usage=Usage(),
    gpu=Gpu(None, "tag"),
)
