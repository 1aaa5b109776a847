"""What Tab offers on the first line of a magic: options, subcommands, and the models, instances and tags that are known."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gleitzeit_nb.core.models import display
from gleitzeit_nb.core.strategies import STRATEGIES
from gleitzeit_nb.jupyter.gleitzeit_magic import COMMANDS
from gleitzeit_nb.jupyter.llm_magic import SUBCOMMANDS, llm_parser
from gleitzeit_nb.jupyter.llm_options import THINK_WORDS
from gleitzeit_nb.jupyter.receipts_magic import receipts_parser
from gleitzeit_nb.jupyter.sandbox_command import SUBCOMMANDS as SANDBOX_COMMANDS
from gleitzeit_nb.jupyter.sandbox_magic import sandbox_parser
from gleitzeit_nb.jupyter.thread_commands import THREAD_COMMANDS, thread_parser
from gleitzeit_nb.jupyter.upkeep_magic import COMMANDS as COMMANDS_ON_MODELS
from gleitzeit_nb.jupyter.upkeep_magic import upkeep_parser

if TYPE_CHECKING:
    from gleitzeit_nb.jupyter.arguments import MagicParser
    from gleitzeit_nb.jupyter.front import Front
    from gleitzeit_nb.snapshot import Snapshot

HOOK = "complete_command"
KEYS = ("%%llm", "%llm", "%%sandbox", "%gleitzeit")


def register(front: Front) -> Callable[[], None]:
    """Offer completions in the front's shell. Returns the way to end it."""
    completers: dict[str, Callable[[Any, Any], list[str]]] = {
        "%%llm": lambda _shell, event: _of_line(front, llm_parser(), event.line),
        "%llm": lambda _shell, event: _of_look(front, event.line),
        "%%sandbox": lambda _shell, event: _of_line(front, sandbox_parser(), event.line),
        "%gleitzeit": lambda _shell, event: _of_command(front, event.line),
    }
    for key, completer in completers.items():
        front.shell.set_hook(HOOK, completer, str_key=key)  # type: ignore[no-untyped-call]

    def unregister() -> None:
        known = front.shell.strdispatchers[HOOK].strs
        for key in KEYS:
            known.pop(key, None)

    return unregister


def _of_line(front: Front, parser: MagicParser, line: str) -> list[str]:
    words = line.split()
    before = words[-1] if line.endswith(" ") else (words[-2] if len(words) > 1 else "")
    values = _values(front, before)
    return values if values is not None else [option for action in parser._actions for option in action.option_strings]


def _of_command(front: Front, line: str) -> list[str]:
    words = line.split()
    if len(words) > 2 or (len(words) == 2 and line.endswith(" ")):
        if words[1] == "sandbox":
            return _of_sandbox(front, words[2:], line.endswith(" "))
        if words[1] == "selfcheck":
            return _values(front, "--mode") or []
        return _known(front, lambda snapshot: [view.id for view in snapshot.instances]) if words[1] in ("drain", "resume") else []
    return list(COMMANDS)


def _of_sandbox(front: Front, words: list[str], is_whole: bool) -> list[str]:
    if not words or (len(words) == 1 and not is_whole):
        return list(SANDBOX_COMMANDS)
    option = {"warm": "--mode", "reset": "--session"}.get(words[0], "")
    return _values(front, option) or []


def _of_look(front: Front, line: str) -> list[str]:
    words = line.split()
    if len(words) < 2 or (len(words) == 2 and not line.endswith(" ")):
        return list(SUBCOMMANDS)
    if words[1] == "explain":
        return _of_line(front, llm_parser(), line)
    if words[1] == "receipts":
        return [name for action in receipts_parser()._actions for name in action.option_strings]
    if words[1] == "cache":
        return ["clear"]
    if words[1] in THREAD_COMMANDS:
        options = [name for action in thread_parser(words[1])._actions for name in action.option_strings]
        return [*(front.threads if words[1] != "import" else ()), *options, *(_files(".json") if words[1] in ("export", "import") else ())]
    if words[1] not in COMMANDS_ON_MODELS:
        return []
    before = words[-1] if line.endswith(" ") else words[-2]
    values = _values(front, "--model" if before == words[1] else before)
    return values if values is not None else [name for action in upkeep_parser(words[1])._actions for name in action.option_strings]


def _values(front: Front, option: str) -> list[str] | None:
    """What can stand behind `option`; None when it takes nothing that is known."""
    if option in ("-m", "--model", "--fallback"):
        return [*_known(front, _models), *_aliases(front)]
    if option in ("--instance", "--prefer"):
        return _known(front, lambda snapshot: [view.id for view in snapshot.instances])
    if option in ("-t", "--tags"):
        return _known(front, lambda snapshot: sorted({tag for view in snapshot.instances for tag in view.tags}))
    if option == "--allow":
        return _allowed(front)
    if option in ("--mode", "--run-mode"):
        return _known(front, lambda snapshot: [view.id for view in snapshot.modes if view.enabled])
    if option == "--session":
        return _known(front, lambda snapshot: [view.name for view in snapshot.sessions])
    if option == "--thread":
        return list(front.threads)
    if option == "--strategy":
        return list(STRATEGIES)
    if option == "--think":
        return list(THINK_WORDS)
    if option == "--file":
        return [f"{each}/" if os.path.isdir(each) else each for each in sorted(os.listdir(".")) if not each.startswith(".")]
    if option == "--artifacts":
        return [f"{each}/" for each in sorted(os.listdir(".")) if os.path.isdir(each) and not each.startswith(".")]
    if option in ("--in", "--format", "--image", "--schema", "--tools", "--allow-tools"):
        return [name for name in front.shell.user_ns if not name.startswith("_")]
    return None


def _files(ending: str) -> list[str]:
    return [each for each in sorted(os.listdir(".")) if each.endswith(ending) and not each.startswith(".")]


def _models(snapshot: Snapshot) -> list[str]:
    """Those that are loaded first."""
    warm = [model.name for view in snapshot.instances for model in view.warm]
    return list(dict.fromkeys([*warm, *sorted(name for view in snapshot.instances for name in view.models)]))


def _aliases(front: Front) -> list[str]:
    return list(map(display, front.runtime.engine.config.pool.aliases)) if front.runtime.running else []


def _allowed(front: Front) -> list[str]:
    """Hosts that the configuration of some mode names."""
    if not front.runtime.running:
        return []
    return list(dict.fromkeys(host for mode in front.runtime.engine.config.sandbox.modes.values() for host in mode.allow))


def _known(front: Front, names: Callable[[Snapshot], list[str]]) -> list[str]:
    """From the running engine; Tab starts none."""
    runtime = front.runtime
    return names(runtime.engine.snapshot()) if runtime.running else []
