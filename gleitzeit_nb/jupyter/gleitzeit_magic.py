"""`%gleitzeit`: look at the pool and the sandbox, and steer them."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics, line_magic, magics_class, no_var_expand

from gleitzeit_nb.errors import UsageError
from gleitzeit_nb.jupyter.arguments import Kind, MagicParser, ending_with, listed, split
from gleitzeit_nb.jupyter.control import steering
from gleitzeit_nb.jupyter.failures import fails_briefly
from gleitzeit_nb.jupyter.llm.strategy_option import strategies_text
from gleitzeit_nb.jupyter.sandbox.commands import sandbox_command_parser, steer_sandbox

if TYPE_CHECKING:
    from gleitzeit_nb.jupyter.front import Front

COMMANDS = {
    "dashboard": "show the live dashboard",
    "status": "print instances, modes and recent failovers",
    "doctor": "look for what is missing or wrong, and say what to do",
    "config": "print the settings in use; `config use FILE` takes a file of your own choice",
    "reload": "read the configuration again",
    "images": "print the sandbox's container images, what they hold, who uses them",
    "selfcheck": "[MODE …]: try every promise of the sandbox here; prints counts, and what does not hold",
    "drain": "ID: give an instance nothing new",
    "resume": "ID: give it work again",
    "cancel": "[ID …]: end requests, runs or jobs beside your cells; without ID: what goes on",
    "restart": "start the pool anew: requests end, sandboxes and sessions go on",
    "diagnostics": "print a report to paste: no keys, prompts, code, addresses or folders",
    "sandbox": "its workers and sessions; `sandbox warm [MODE]`, `cleanup`, `reset NAME`, …",
    "help": "print this",
}
_OFFERS: Mapping[str, Kind] = {"drain": "serving instance", "resume": "draining instance", "selfcheck": "mode", "cancel": "run"}


def gleitzeit_parser() -> MagicParser:
    """`%gleitzeit` with its commands."""
    parser = MagicParser("%gleitzeit", "Look at the pool and the sandbox, and steer them.")
    parser.commands = {name: partial(command_parser, name) for name in COMMANDS}
    return parser


def command_parser(command: str) -> MagicParser:
    parser = MagicParser(f"%gleitzeit {command}", re.sub(r"^[^a-z]+: ", "", COMMANDS[command]))
    if command == "sandbox":
        return sandbox_command_parser()
    if command == "config":
        parser.commands = {"use": _use_parser}
    elif command in _OFFERS:
        count, what = "*" if command in ("selfcheck", "cancel") else "?", "MODE" if command == "selfcheck" else "ID"
        parser.add_argument("names", metavar=what, nargs=count, offers=_OFFERS[command])
    return parser


def _use_parser() -> MagicParser:
    parser = MagicParser("%gleitzeit config use", "Take the settings of this file.")
    parser.add_argument("file", metavar="FILE", offers="file")
    return parser


HELP = listed("%gleitzeit", COMMANDS)


@magics_class
class GleitzeitMagics(Magics):
    front: Front

    def __init__(self, front: Front) -> None:
        super().__init__(front.shell)
        self.front = front

    @no_var_expand
    @line_magic("gleitzeit")  # type: ignore[arg-type]
    @fails_briefly
    @ending_with(lambda: HELP)
    def steer(self, line: str) -> Any:
        """Look at the pool and the sandbox, and steer them."""
        words = split(line) or ["help"]
        commands: dict[str, Callable[[Sequence[str]], Any]] = {
            "dashboard": self._dashboard,
            "status": self._status,
            "doctor": self._doctor,
            "config": self._config,
            "reload": self._reload,
            "images": self._images,
            "selfcheck": self._selfcheck,
            "drain": lambda words: self._set_draining("drain", words),
            "resume": lambda words: self._set_draining("resume", words),
            "cancel": lambda words: print(steering.cancel(self.front, words)),  # noqa: T201
            "restart": lambda words: print(steering.restart(self.front, words)),  # noqa: T201
            "diagnostics": lambda words: print(steering.diagnostics(self.front, words)),  # noqa: T201
            "sandbox": lambda words: steer_sandbox(self.front, words),
            "help": self._help,
        }
        name = {"-h": "help", "--help": "help"}.get(words[0], words[0])
        if name not in commands:
            near = difflib.get_close_matches(name, COMMANDS, n=1)
            hint = f"; did you mean %gleitzeit {near[0]}?" if near else "."
            raise UsageError(f"%gleitzeit: there is no command {name[:40]!r}{hint}\nKnown are {', '.join(COMMANDS)}.")
        if {"-h", "--help"}.intersection(words[1:]):
            print(command_parser(name).format_help())  # noqa: T201
            return None
        return commands[name](words[1:])

    def _dashboard(self, words: Sequence[str]) -> Any:
        _refuse_more("dashboard", words)
        if not self.front.in_kernel:
            self._status(words)
            return None
        self.front.engine  # noqa: B018 - starts it, so that what is shown first is not empty
        return self.front.dashboard()

    def _status(self, words: Sequence[str]) -> None:
        _refuse_more("status", words)
        from gleitzeit_nb.rendering.text import status_text

        print(status_text(self.front.engine.snapshot()))  # noqa: T201

    def _doctor(self, words: Sequence[str]) -> None:
        _refuse_more("doctor", words)
        from gleitzeit_nb.rendering.text import findings_text

        print(findings_text(self.front.runtime.call(self.front.engine.doctor())))  # noqa: T201

    def _images(self, words: Sequence[str]) -> None:
        _refuse_more("images", words)
        from gleitzeit_nb.rendering.images import inventory_text
        from gleitzeit_nb.sandbox.images.inventory import of_this_daemon

        modes = self.front.runtime.config().sandbox.modes.values()
        print(inventory_text(self.front.runtime.call(of_this_daemon(modes))))  # noqa: T201

    def _selfcheck(self, words: Sequence[str]) -> None:
        from gleitzeit_nb.rendering.selfcheck import report_text
        from gleitzeit_nb.sandbox.selfcheck.session import SelfCheck, Wanted

        checking = SelfCheck(self.front.runtime.config().sandbox, Wanted(modes=tuple(words)))
        print(report_text(self.front.runtime.call(checking.run()), brief=True))  # noqa: T201

    def _config(self, words: Sequence[str]) -> None:
        if not words:
            print(json.dumps(self.front.runtime.config().describe(), indent=2, ensure_ascii=False, default=str))  # noqa: T201
        elif words[0] == "use" and len(words) == 2:
            path = Path(words[1]).expanduser()
            self.front.runtime.configure(use_file=path)
            print(f"The settings of {path} are in use.")  # noqa: T201
        else:
            raise UsageError("%gleitzeit config takes nothing, or `use FILE`.\nFor example: %gleitzeit config use ./gleitzeit.yaml")

    def _reload(self, words: Sequence[str]) -> None:
        _refuse_more("reload", words)
        ended = self.front.runtime.reload()
        print(f"The configuration was read again. {ended}".rstrip())  # noqa: T201

    def _set_draining(self, command: str, words: Sequence[str]) -> None:
        engine = self.front.engine
        ids = [view.id for view in engine.snapshot().instances]
        if len(words) != 1:
            raise UsageError(f"%gleitzeit {command} takes the id of one instance.\nThere are: {', '.join(ids) or 'none'}.")
        if words[0] not in ids:
            near = difflib.get_close_matches(words[0], ids, n=1)
            hint = f"; did you mean {near[0]}?" if near else "."
            raise UsageError(f"There is no instance {words[0][:60]!r}{hint}\nThere are: {', '.join(ids) or 'none'}.")
        pool = engine.pool
        self.front.runtime.call(pool.drain(words[0]) if command == "drain" else pool.resume(words[0]))
        done = "gets nothing new; what it is answering goes on." if command == "drain" else "gets work again."
        print(f"{words[0]} {done}")  # noqa: T201

    def _help(self, words: Sequence[str]) -> None:
        print(f"{HELP}\n{strategies_text()}")  # noqa: T201


def _refuse_more(command: str, words: Sequence[str]) -> None:
    if words:
        raise UsageError(f"%gleitzeit {command} takes nothing more, and {words[0][:40]!r} was given.\nAll commands: %gleitzeit help")
