"""`%llm warm`, `pull`, `unload` and `delete`: models on the instances, from a cell."""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from gleitzeit_nb.core.upkeep import Holding, Place, PullProgress, Where
from gleitzeit_nb.errors import ModelNotFoundError, UsageError
from gleitzeit_nb.jupyter.arguments import Kind, MagicParser, comma_list, joined
from gleitzeit_nb.jupyter.display.places import RUNNING
from gleitzeit_nb.rendering.upkeep import deleted_text, deletion_question, progress_line, step_of, unloaded_text, warmed_text

if TYPE_CHECKING:
    from gleitzeit_nb.jupyter.front import Front
    from gleitzeit_nb.llm.pool import OllamaPoolManager

REDRAW_S = 0.25
Publish = Callable[[dict[str, Any], dict[str, Any], bool], None]
COMMANDS: Mapping[str, str] = {
    "warm": "load a model: on the named instances, else on the one where it is wanted most likely",
    "pull": "let instances fetch a model; the interrupt stops it, and what had come is used by the next pull",
    "unload": "unload a model, wherever it is loaded or on the named instances",
    "delete": "delete a model from the disks of all that have it, or of the named instances; needs --yes",
}


def upkeep_parser(command: str) -> MagicParser:
    parser = MagicParser(f"%llm {command}", COMMANDS[command])
    which: Kind = "warm model" if command == "unload" else "model"
    parser.add_argument("model", metavar="MODEL", nargs="?", offers=which)
    parser.add_argument("--instance", metavar="ID", offers="instance", help="on this instance")
    parser.add_argument(
        "-t", "--tags", type=comma_list, action="append", metavar="A,B", offers="tag", help="on those that have all of these tags"
    )
    parser.add_argument("--all", action="store_true", help="on all instances")
    if command == "delete":
        parser.add_argument("--yes", action="store_true", help="really delete it")
    return parser


def keep_up(front: Front, command: str, line: str) -> None:
    """Run `command`; `line` is what stands behind it."""
    parser = upkeep_parser(command)
    args = parser.read(line)
    if args.help:
        print(parser.format_help())  # noqa: T201
        return
    if not args.model:
        raise UsageError(f"%llm {command}: which model?\nWrite %llm {command} MODEL, such as %llm {command} llama3.2")
    place = _place(args)
    runtime, pool = front.runtime, front.engine.pool
    if command == "pull":
        _pull(front, args.model, place)
    elif command == "warm":
        print(warmed_text(runtime.call(pool.warm(args.model, **place))))  # noqa: T201
    elif command == "unload":
        print(unloaded_text(args.model, runtime.call(pool.unload(args.model, **place))))  # noqa: T201
    else:
        _delete(front, args.model, place, sure=args.yes)


def _place(args: argparse.Namespace) -> Place:
    place: Place = {"instance": args.instance, "tags": joined(args.tags), "everywhere": args.all}
    try:
        Where.of(**place)
    except ValueError as error:
        raise UsageError(f"{error}: --instance ID, --tags A,B or --all") from error
    return place


def _delete(front: Front, model: str, place: Place, *, sure: bool) -> None:
    runtime, pool = front.runtime, front.engine.pool
    if not sure:
        holdings = runtime.call(_holders(pool, model, place))
        if not holdings:
            raise ModelNotFoundError(f"nobody has {model[:80]}: there is nothing to delete. %llm models shows what there is")
        raise UsageError(f"{deletion_question(holdings)}\nNothing is deleted yet. Add --yes to do it")
    print(deleted_text(model, runtime.call(pool.delete(model, **place))))  # noqa: T201


async def _holders(pool: OllamaPoolManager, model: str, place: Place) -> tuple[Holding, ...]:
    return await pool.upkeep.holders(model, Where.of(**place))


# -- pull -----------------------------------------------------------------------------------------------------------------------


def _pull(front: Front, model: str, place: Place) -> None:
    view: Drawn | Printed = Printed()
    if front.in_kernel:
        from gleitzeit_nb.jupyter.display.answer import publisher

        view = Drawn(publisher(front.places))
    pool = front.engine.pool
    try:
        with contextlib.closing(front.runtime.iterate(pool.pull(model, **place))) as batches:
            for batch in batches:
                view.show(batch)
    finally:
        view.end()


class Drawn:
    """One line per instance, drawn anew in one place of a notebook."""

    def __init__(self, publish: Publish, clock: Callable[[], float] = time.monotonic) -> None:
        self._publish = publish
        self._clock = clock
        self._last: dict[str, PullProgress] = {}
        self._drawn_at = float("-inf")
        self._text = ""

    def show(self, batch: list[PullProgress]) -> None:
        self._last.update({progress.instance: progress for progress in batch})
        if self._clock() - self._drawn_at >= REDRAW_S:
            self.paint()

    def end(self) -> None:
        self.paint(last=True)

    def paint(self, *, last: bool = False) -> None:
        """What is true now, if that is not what is shown."""
        text = "\n".join(map(progress_line, self._last.values()))
        if text and (last or text != self._text):
            self._publish({"text/plain": text}, {} if last else RUNNING, bool(self._text))
            self._text, self._drawn_at = text, self._clock()


class Printed:
    """A line whenever something is another; a terminal keeps them all."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[object, ...]] = {}

    def show(self, batch: list[PullProgress]) -> None:
        for progress in batch:
            step = step_of(progress)
            if self._said.get(progress.instance) != step:
                self._said[progress.instance] = step
                print(progress_line(progress), flush=True)  # noqa: T201

    def end(self) -> None:
        return
