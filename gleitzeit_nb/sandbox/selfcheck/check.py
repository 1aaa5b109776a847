"""One check, and who promises what it looks for. Pure."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from gleitzeit_nb.core.execution import ExecutionResult, Limits, ModeSettings

Form = Literal["docker", "restricted", "weaker", "local"]

DOCKER: tuple[Form, ...] = ("docker",)
ENFORCED: tuple[Form, ...] = ("docker", "restricted")
HELD: tuple[Form, ...] = ("docker", "restricted", "weaker")
EVERY: tuple[Form, ...] = ("docker", "restricted", "weaker", "local")

ABSENT = "this machine has no such system call"


@dataclass(frozen=True)
class Subject:
    """The mode that is looked at. `isolation`: what holds it here, in one line; `weaker`: what it says that it does not promise here."""

    mode: ModeSettings
    isolation: str = ""
    weaker: str = ""
    fresh: bool = False
    volume_roots: tuple[str, ...] = ()

    @property
    def form(self) -> Form:
        if self.mode.kind == "restricted" and self.weaker:
            return "weaker"
        return self.mode.kind

    @property
    def limits(self) -> Limits:
        return self.mode.limits


class Execute(Protocol):
    """Runs code in the mode that is looked at; options as in `Sandbox.execute`."""

    @property
    def subject(self) -> Subject: ...

    async def __call__(self, code: str, **options: Any) -> ExecutionResult: ...


Probe = Callable[[Execute], Awaitable[Any]]


class ProbeError(Exception):
    """The probe saw something else than a value: its run did not end well. The text says what was seen."""


@dataclass(frozen=True)
class Where:
    """An expectation that is no single value. `text` may name `{limits.…}`, those of the mode; `holds` gets what was seen, and them."""

    text: str
    holds: Callable[[Any, Limits], bool]


def promised_always(_: Subject) -> str:
    return ""


@dataclass(frozen=True)
class Check:
    """`withheld` says why a subject of one of `forms` does not promise it after all; "" when it does.

    `code` is there when the probe is that code alone, which leaves what is to be seen in the variable `seen`; `alone`: it looks at its
    own process, so it cannot be run beside others.
    """

    name: str
    area: str
    promise: str
    tried: str
    expected: Any
    weakening: str
    proves: str
    forms: tuple[Form, ...]
    probe: Probe
    source: str  # what is done, without its name and words: two checks that do the same are one
    code: str | None = None
    alone: bool = False
    withheld: Callable[[Subject], str] = promised_always

    def not_promised(self, subject: Subject) -> str:
        """Why the subject does not promise it; "" when it does."""
        if subject.form in self.forms:
            return self.withheld(subject)
        if subject.form == "local":
            return "local mode isolates nothing"
        if subject.form == "weaker":
            return f"given up by the weaker form: {subject.weaker}"
        return f"a promise of {' and '.join(self.forms)} modes only"

    def kept(self, seen: Any, limits: Limits) -> bool:
        if isinstance(self.expected, Where):
            return self.expected.holds(seen, limits)
        return bool(seen == self.expected)

    def expectation(self, limits: Limits) -> str:
        return self.expected.text.format(limits=limits) if isinstance(self.expected, Where) else repr(self.expected)


def _body(probe: Probe) -> str:
    tree = ast.parse(textwrap.dedent(inspect.getsource(probe)))
    function = next(node for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef))
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return "\n".join(ast.unparse(statement) for statement in body)


@dataclass
class Area:
    """The checks of one module, in their order."""

    name: str
    checks: list[Check] = field(default_factory=list)

    def add(self, check: Check) -> None:
        self.checks.append(check)

    def check(
        self,
        weakening: str,
        *,
        proves: str,
        tried: str,
        expected: Any,
        forms: tuple[Form, ...] = ENFORCED,
        withheld: Callable[[Subject], str] = promised_always,
    ) -> Callable[[Probe], Probe]:
        """Register a probe: its name is the check's, its docstring the promise, and it returns what it saw."""

        def register(probe: Probe) -> Probe:
            name, promise = str(getattr(probe, "__name__", "")), inspect.getdoc(probe) or ""
            check = Check(name, self.name, promise, tried, expected, weakening, proves, forms, probe, _body(probe), withheld=withheld)
            self.add(check)
            return probe

        return register

    def snippet(
        self,
        name: str,
        promise: str,
        *,
        code: str,
        weakening: str,
        proves: str,
        tried: str,
        expected: Any,
        forms: tuple[Form, ...] = ENFORCED,
        alone: bool = False,
        withheld: Callable[[Subject], str] = promised_always,
    ) -> None:
        """Register code as a check of its own: it runs once and leaves what is to be seen in the variable `seen`."""

        async def probe(execute: Execute) -> Any:
            from gleitzeit_nb.sandbox.selfcheck.probing import seen

            return await seen(execute, code)

        self.add(Check(name, self.name, promise, tried, expected, weakening, proves, forms, probe, code, code, alone, withheld))
