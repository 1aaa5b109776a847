"""What Tab can offer as an option's value: what is known at this moment, best first. Nothing here starts an engine or loads a model."""

from __future__ import annotations

import ast
import collections
import concurrent.futures
import contextlib
import functools
import itertools
import os
import re
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from gleitzeit_nb.core.execution import default_modes
from gleitzeit_nb.core.models import display
from gleitzeit_nb.errors import EngineClosedError
from gleitzeit_nb.jupyter.completion.lookahead import LookAhead
from gleitzeit_nb.rendering.words import instance_status

if TYPE_CHECKING:
    from gleitzeit_nb.config import Config
    from gleitzeit_nb.core.execution import ModeSettings
    from gleitzeit_nb.engine import Engine
    from gleitzeit_nb.jupyter.arguments import Kind
    from gleitzeit_nb.jupyter.front import Front
    from gleitzeit_nb.snapshot import InstanceView, Snapshot

FIRST_S = 0.25  # for the engine's loop while nothing is known yet, so that nothing could be offered
PATIENCE_S = 0.03  # for the engine's loop to say what is true now; then what it said last has to do
_ROUTINES = (types.FunctionType, types.BuiltinFunctionType, types.MethodType)
MOST_FILES = 2000  # that are looked at in one folder


class Candidate(NamedTuple):
    text: str
    type: str  # what a front end shows beside it


class Known:
    """What the engine last said of itself, so that Tab need not wait for a busy loop. `ahead`: what is known without one."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._engine: Engine | None = None
        self._snapshot: Snapshot | None = None
        self.ahead = LookAhead(front)

    def look(self) -> tuple[Engine | None, Snapshot | None]:
        """The engine, if one runs, and what is true of it; a little older where it does not say so at once."""
        runtime = self._front.current_runtime
        engine = runtime.current_engine if runtime is not None else None
        if engine is not self._engine:
            self._engine, self._snapshot = engine, None
        if runtime is not None and engine is not None:
            with contextlib.suppress(concurrent.futures.TimeoutError, EngineClosedError):  # it is busy, or ending
                self._snapshot = runtime.submit(_snapshot_of(engine)).result(FIRST_S if self._snapshot is None else PATIENCE_S)
        return self._engine, self._snapshot


async def _snapshot_of(engine: Engine) -> Snapshot:
    return engine.snapshot()


class Scene:
    """What a completion looks at: the value typed so far, the cell's text below its first line, the notebook and the engine."""

    def __init__(self, front: Front, known: Known, typed: str = "", body: str = "") -> None:
        self.front = front
        self.shell = front.shell
        self.typed = typed
        self.body = body
        self._known = known

    @functools.cached_property
    def _engine(self) -> tuple[Engine | None, Snapshot | None]:
        return self._known.look()

    @property
    def engine(self) -> Engine | None:
        return self._engine[0]

    @property
    def snapshot(self) -> Snapshot | None:
        return self._engine[1]

    @functools.cached_property
    def instances(self) -> tuple[InstanceView, ...]:
        if self.engine is None:
            return self._known.ahead.instances()
        return self.snapshot.instances if self.snapshot is not None else ()

    @property
    def config(self) -> Config | None:
        """None where nobody has read it yet."""
        return self.engine.config if self.engine is not None else self._known.ahead.config

    @property
    def modes(self) -> Mapping[str, ModeSettings]:
        return self.config.sandbox.modes if self.config is not None else default_modes()

    @property
    def variables(self) -> list[tuple[str, Any]]:
        """The user's own, the newest first: neither what a shell brings along nor names with an underscore."""
        hidden = self.shell.user_ns_hidden
        return [(name, value) for name, value in reversed([*self.shell.user_ns.items()]) if name[0] != "_" and name not in hidden]


# -- the pool ---------------------------------------------------------------------------------------------------------------


def _models(scene: Scene) -> Iterator[Candidate]:
    """Those that are loaded first, then those that most instances have; aliases last."""
    warm = collections.Counter(display(model.name) for view in scene.instances for model in view.warm)
    held = collections.Counter(display(name) for view in scene.instances for name in view.models)
    for name in sorted({**held, **warm}, key=lambda name: (-warm[name], -held[name], name)):
        yield Candidate(name, "warm model" if warm[name] else "model")
    if scene.config is not None:
        yield from (Candidate(display(name), "alias") for name in sorted(scene.config.pool.aliases))


def _warm_models(scene: Scene) -> Iterator[Candidate]:
    return (each for each in _models(scene) if each.type == "warm model")


def _instances(scene: Scene) -> Iterator[Candidate]:
    return (_instance(view) for view in scene.instances)


def _instance(view: InstanceView) -> Candidate:
    status = instance_status(view)
    return Candidate(view.id, "instance" if status.state == "ok" else f"instance: {status.word.lower()}")


def _serving(scene: Scene) -> Iterator[Candidate]:
    return (_instance(view) for view in scene.instances if not view.draining)


def _draining(scene: Scene) -> Iterator[Candidate]:
    return (_instance(view) for view in scene.instances if view.draining)


def _tags(scene: Scene) -> Iterator[Candidate]:
    """Those of most instances first."""
    counts = collections.Counter(tag for view in scene.instances for tag in view.tags)
    return (Candidate(tag, "tag") for tag in sorted(counts, key=lambda tag: (-counts[tag], tag)))


# -- the sandbox ------------------------------------------------------------------------------------------------------------


def _modes(scene: Scene) -> Iterator[Candidate]:
    return (Candidate(name, "mode") for name, mode in scene.modes.items() if mode.enabled)


def _sessions(scene: Scene) -> Iterator[Candidate]:
    """The last used first."""
    sessions = scene.snapshot.sessions if scene.snapshot is not None else ()
    return (Candidate(view.name, "session") for view in sorted(sessions, key=lambda view: -view.used_at))


def _runs(scene: Scene) -> Iterator[Candidate]:
    """What goes on, whatever it is."""
    return (Candidate(view.id, view.kind) for view in (scene.snapshot.runs if scene.snapshot is not None else ()))


def _containers(scene: Scene) -> Iterator[Candidate]:
    views = scene.snapshot.container_list if scene.snapshot is not None else ()
    return (Candidate(view.id, view.state) for view in views if view.id)


def _images(scene: Scene) -> Iterator[Candidate]:
    return (Candidate(mode.image, "image") for mode in scene.modes.values() if mode.image)


def _hosts(scene: Scene) -> Iterator[Candidate]:
    """That the configuration of some mode names."""
    return (Candidate(host, "host") for mode in scene.modes.values() for host in mode.allow)


# -- the notebook -------------------------------------------------------------------------------------------------------------


def _variables(scene: Scene) -> Iterator[Candidate]:
    code = (types.ModuleType, *_ROUTINES, type)
    return (Candidate(name, type(value).__name__) for name, value in scene.variables if not _is_a(value, code))


def _inputs(scene: Scene) -> Iterator[Candidate]:
    """Those first that the cell's code speaks of."""
    spoken = set(re.findall(r"\w+", scene.body))
    found = list(_variables(scene))
    return itertools.chain((each for each in found if each.text in spoken), (each for each in found if each.text not in spoken))


def _results(scene: Scene) -> Iterator[Candidate]:
    """What the cell's code makes, the last first; then what exists already."""
    return itertools.chain((Candidate(name, "result") for name in reversed(defined(scene.body))), _variables(scene))


def defined(code: str) -> list[str]:
    """The variables that `code` leaves, in the order of their making; also of code that is not whole yet."""
    try:
        nodes = [node for line in ast.parse(code).body for node in _targets(line)]
    except (SyntaxError, ValueError, RecursionError):
        return [*dict.fromkeys(found[1] for found in re.finditer(r"^(\w+)\s*(?::[^=\n]+)?=(?!=)", code, re.MULTILINE))]
    return [*dict.fromkeys(node.id for node in nodes)]


def _targets(line: ast.stmt) -> Iterator[ast.Name]:
    if isinstance(line, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return
    for node in ast.walk(line):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node


def _functions(scene: Scene) -> Iterator[Candidate]:
    return (Candidate(name, "function") for name, value in scene.variables if _is_a(value, _ROUTINES))


def _shapes(scene: Scene) -> Iterator[Candidate]:
    kinds = (type, types.GenericAlias, types.UnionType)
    found = ((name, value) for name, value in scene.variables if _is_a(value, (*kinds, dict)))
    return (Candidate(name, "type" if _is_a(value, kinds) else "dict") for name, value in found)


def _is_a(value: object, kinds: tuple[type, ...]) -> bool:
    """Without asking the value, whose `__class__` may be code of its own."""
    return issubclass(type(value), kinds)


def _threads(scene: Scene) -> Iterator[Candidate]:
    return (Candidate(name, "thread") for name in scene.front.threads)


def _jobs(scene: Scene) -> Iterator[Candidate]:
    """The newest first."""
    return (Candidate(str(each.id), f"job: {each.state}") for each in reversed(scene.front.jobs.known))


def _running_jobs(scene: Scene) -> Iterator[Candidate]:
    return (Candidate(str(each.id), "job") for each in reversed(scene.front.jobs.running))


# -- files --------------------------------------------------------------------------------------------------------------------


def _files(scene: Scene) -> Iterator[Candidate]:
    return _paths(scene.typed, folders_only=False)


def _folders(scene: Scene) -> Iterator[Candidate]:
    return _paths(scene.typed, folders_only=True)


def _paths(typed: str, *, folders_only: bool) -> Iterator[Candidate]:
    """What stands in the folder that is typed so far; hidden names only where one is begun."""
    if ":" in typed:
        return
    folder, name = typed[: typed.rfind("/") + 1], typed[typed.rfind("/") + 1 :]
    found: list[Candidate] = []
    try:
        with os.scandir(os.path.expanduser(folder) or ".") as entries:
            for entry in itertools.islice(entries, MOST_FILES):
                if entry.name.startswith(".") and not name.startswith("."):
                    continue
                if entry.is_dir():
                    found.append(Candidate(f"{folder}{entry.name}/", "folder"))
                elif not folders_only:
                    found.append(Candidate(f"{folder}{entry.name}", "file"))
    except OSError:
        return  # no such folder, or not ours to read: there is nothing to offer
    yield from sorted(found)


SOURCES: Mapping[Kind, Callable[[Scene], Iterable[Candidate]]] = {
    "model": _models,
    "warm model": _warm_models,
    "instance": _instances,
    "serving instance": _serving,
    "draining instance": _draining,
    "tag": _tags,
    "thread": _threads,
    "job": _jobs,
    "running job": _running_jobs,
    "run": _runs,
    "container": _containers,
    "mode": _modes,
    "session": _sessions,
    "container image": _images,
    "host": _hosts,
    "variable": _variables,
    "input": _inputs,
    "result": _results,
    "function": _functions,
    "shape": _shapes,
    "file": _files,
    "folder": _folders,
}
