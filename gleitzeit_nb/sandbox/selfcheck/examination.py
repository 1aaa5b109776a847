"""Running checks on a mode: what is code alone in one run together, everything else by itself; a verdict for each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from gleitzeit_nb.errors import SandboxError
from gleitzeit_nb.sandbox.selfcheck.check import ABSENT, Check, ProbeError
from gleitzeit_nb.sandbox.selfcheck.probing import with_prelude
from gleitzeit_nb.sandbox.selfcheck.subjects import ModeExecute, still_answers

Verdict = Literal["kept", "broken", "failed", "skipped", "not promised"]

CHECK_S = 60.0
BATCH_S = 120.0
SAW_CHARS = 500

# Each in a process of its own, so that none sees what another did.
_TOGETHER = """
import json, os
seen = {}
for name, code in codes.items():
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            scope = {"__name__": "__main__"}
            exec(compile(code, name, "exec"), scope)
            answer = {"seen": scope["seen"]}
        except BaseException as exc:
            answer = {"failed": type(exc).__name__ + ": " + str(exc)[:300]}
        os.write(writing, json.dumps(answer).encode())
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        data = pipe.read()
    status = os.waitpid(child, 0)[1]
    seen[name] = json.loads(data) if data else {"failed": "its process ended with status %d" % status}
"""


@dataclass(frozen=True)
class Outcome:
    """`saw`: in Python's words; for "skipped", "failed" and "not promised" the reason instead. It may hold what code inside wrote."""

    check: Check
    verdict: Verdict
    saw: str
    took_s: float = 0.0

    @property
    def bad(self) -> bool:
        return self.verdict in ("broken", "failed")


Told = Callable[[Outcome], None]


async def examine(
    execute: ModeExecute, checks: Iterable[Check], *, limit_s: float = CHECK_S, told: Told | None = None, sure: bool = True
) -> list[Outcome]:
    """An outcome for each check, in no particular order; `told` hears of each at once.

    `sure`: what was not kept among others is tried again alone before it is called broken.
    """
    found: list[Outcome] = []

    def tell(outcome: Outcome) -> None:
        found.append(outcome)
        if told is not None:
            told(outcome)

    promised = []
    for check in checks:
        reason = check.not_promised(execute.subject)
        if reason:
            tell(Outcome(check, "not promised", reason))
        else:
            promised.append(check)
    alone = [check for check in promised if check.code is None or check.alone]
    for outcome in await _together(execute, [check for check in promised if check.code is not None and not check.alone]):
        if outcome.verdict == "kept" or (outcome.verdict == "broken" and not sure):
            tell(outcome)
        else:
            alone.append(outcome.check)
    for check in alone:
        tell(await _by_itself(execute, check, limit_s))
    return found


async def _together(execute: ModeExecute, checks: Sequence[Check]) -> list[Outcome]:
    """One outcome each; "failed" for all when the run as a whole ended badly."""
    if not checks:
        return []
    started = time.monotonic()
    codes = {check.name: with_prelude(check.code or "") for check in checks}
    try:
        result = await execute(_TOGETHER, inputs={"codes": codes}, outputs=("seen",), timeout=BATCH_S)
        answered = result.ok and (execute.subject.fresh or await still_answers(execute))
    except (SandboxError, asyncio.TimeoutError):
        answered = False
    if not answered:
        return [Outcome(check, "failed", "the run that tried it with others ended badly") for check in checks]
    took_s = (time.monotonic() - started) / len(checks)
    return [_judged(execute, check, result.outputs["seen"].get(check.name, {}), took_s) for check in checks]


def _judged(execute: ModeExecute, check: Check, answer: dict[str, Any], took_s: float) -> Outcome:
    if "seen" not in answer:
        return Outcome(check, "broken", str(answer.get("failed", "nothing"))[:SAW_CHARS], took_s)
    return _compared(execute, check, answer["seen"], took_s)


def _compared(execute: ModeExecute, check: Check, seen: Any, took_s: float) -> Outcome:
    if seen == ABSENT:
        return Outcome(check, "skipped", ABSENT, took_s)
    try:
        kept = check.kept(seen, execute.subject.limits)
    except (TypeError, KeyError, IndexError, AttributeError):  # what came back is not even of the kind that was expected
        kept = False
    return Outcome(check, "kept" if kept else "broken", repr(seen)[:SAW_CHARS], took_s)


async def _by_itself(execute: ModeExecute, check: Check, limit_s: float) -> Outcome:
    started = time.monotonic()
    try:
        seen = await asyncio.wait_for(check.probe(execute), limit_s)
        outcome = _compared(execute, check, seen, time.monotonic() - started)
        if outcome.verdict == "kept" and not execute.subject.fresh and not await still_answers(execute):
            return Outcome(check, "broken", f"{outcome.saw}, but then the sandbox did not answer", time.monotonic() - started)
    except ProbeError as exc:
        return Outcome(check, "broken", str(exc)[:SAW_CHARS], time.monotonic() - started)
    except asyncio.TimeoutError:
        return Outcome(check, "failed", f"no answer within {limit_s:g} s", time.monotonic() - started)
    except SandboxError as exc:
        return Outcome(check, "failed", str(exc)[:SAW_CHARS], time.monotonic() - started)
    return outcome
