"""Receipts as tables of text: the last ones, and what a file of them comes to. Pure; every name is cleaned."""

from __future__ import annotations

from collections.abc import Sequence

from gleitzeit_nb.core.models import display
from gleitzeit_nb.core.plain import one_line
from gleitzeit_nb.core.receipt_summary import Summary
from gleitzeit_nb.core.receipts import Receipt
from gleitzeit_nb.rendering import words
from gleitzeit_nb.rendering.answers import SOURCES
from gleitzeit_nb.rendering.columns import columns

Row = tuple[str, ...]
HEAD: Row = ("Time", "Request", "Model", "Digest", "Instance", "Outcome", "Tokens", "tok/s", "Queue", "First", "Total", "GPU", "Tries")
_SUMMARY: Row = (
    *("Instance", "Model", "Requests", "Failed", "Cancelled", "Retries"),
    *("p50", "p95", "First p50", "Queue p95", "Tokens", "tok/s"),
)
DIGEST_CHARS = 12  # as Ollama's own listing shows them


def text_of(receipts: Sequence[Receipt]) -> str:
    """One line for each, in the order given."""
    if not receipts:
        return "No request has ended yet."
    rows = [HEAD]
    rows += [row_of(each) for each in receipts]
    return columns(rows).replace("\u00a0", " ")


def row_of(receipt: Receipt) -> Row:
    """The words under `HEAD`, of one receipt, each cleaned."""
    timings, usage = receipt.timings, receipt.usage
    row = (
        words.clock_time(receipt.at),
        receipt.label or receipt.kind,
        display(receipt.model) or words.UNKNOWN,
        receipt.digest[:DIGEST_CHARS] or words.UNKNOWN,
        receipt.instance or words.UNKNOWN,
        _outcome(receipt),
        words.UNKNOWN if usage.completion_tokens is None else str(usage.completion_tokens),
        rate(receipt.tokens_per_s),
        words.seconds(timings.queue_s),
        words.seconds(timings.first_token_s),
        words.seconds(timings.total_s),
        gpu(receipt),
        " ".join(f"{each.instance}:{each.outcome}" for each in receipt.tries) or words.UNKNOWN,
    )
    return tuple(one_line(word) for word in row)


def _outcome(receipt: Receipt) -> str:
    """The error's name where there was one, and where an answer came from that no instance gave."""
    source = SOURCES.get(receipt.source, "")
    if receipt.outcome == "ok":
        return source or "ok"
    outcome = receipt.error if receipt.outcome == "failed" else receipt.outcome
    return f"{outcome} ({source})" if source else outcome


def gpu(receipt: Receipt) -> str:
    """What `/api/ps` proved; else what the configuration claims, marked as a claim."""
    share = receipt.gpu.share
    if share is not None:
        return words.placement(share)
    return "tag" if receipt.gpu.known_by == "tag" else words.UNKNOWN


def summary_text(summaries: Sequence[Summary]) -> str:
    if not summaries:
        return "No receipt is in there."
    rows = [_SUMMARY]
    rows += [
        (
            each.instance or SOURCES.get(each.source, words.UNKNOWN),
            display(each.model) or words.UNKNOWN,
            *map(str, (each.requests, each.failed, each.cancelled, each.retries)),
            *map(words.seconds, (each.p50_s, each.p95_s, each.first_token_p50_s, each.queue_p95_s)),
            str(each.tokens),
            rate(each.tokens_per_s),
        )
        for each in summaries
    ]
    return columns(rows).replace("\u00a0", " ")


def rate(tokens_per_s: float | None) -> str:
    return words.UNKNOWN if tokens_per_s is None else f"{tokens_per_s:.1f}"
