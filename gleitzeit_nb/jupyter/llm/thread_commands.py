"""`%llm history`, `reset`, `export` and `import`: looking at the notebook's conversations, ending them, and keeping them in files."""

from __future__ import annotations

import argparse
import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from gleitzeit_nb.core.threads import DEFAULT_THREAD, Thread
from gleitzeit_nb.core.transcripts import plain_thread, read_thread
from gleitzeit_nb.errors import UsageError
from gleitzeit_nb.jupyter.arguments import MagicParser
from gleitzeit_nb.jupyter.llm.new_file import write_new
from gleitzeit_nb.jupyter.llm.thread_options import thread_name

if TYPE_CHECKING:
    from gleitzeit_nb.jupyter.front import Front
    from gleitzeit_nb.jupyter.llm.transcripts import ThreadTable, Transcript

MOST_BYTES = 256 << 20  # of a file that is read; pictures may stand in it
THREAD_COMMANDS: Mapping[str, str] = {
    "history": "[NAME] what was said in a conversation; without a name: which there are",
    "reset": "[NAME|--all] forget a conversation",
    "export": "[NAME] FILE write a conversation to a .md or .json file",
    "import": "FILE [NAME] go on with a conversation from a .json file",
}


def thread_parser(command: str) -> MagicParser:
    parser = MagicParser(f"%llm {command}", THREAD_COMMANDS[command].rpartition("] ")[2].removeprefix("FILE "))
    add = parser.add_argument
    if command == "history":
        add(
            "name", metavar="NAME", nargs="?", type=thread_name, offers="thread", help="the conversation to show; default: list all of them"
        )
        add("--json", action="store_true", help="print it as JSON, with all that is known")
    elif command == "reset":
        add(
            "name",
            metavar="NAME",
            nargs="?",
            type=thread_name,
            offers="thread",
            help="the conversation to forget; default: the configured one, else main",
        )
        add("--all", action="store_true", help="forget all of them")
    else:
        shape = "[NAME] FILE" if command == "export" else "FILE [NAME]"
        add(
            "words",
            metavar=shape,
            nargs="*",
            offers=("thread", "file") if command == "export" else ("file", "thread"),
            help=_FILES[command],
        )
        add("--force", action="store_true", help=f"replace {'the file' if command == 'export' else 'the conversation'} if there is one")
    return parser


_FILES = {
    "export": "the conversation (default: the configured one, else main), and where to write it; the file's ending says how: .md or .json",
    "import": "a file that %%llm export wrote, or a list of {role, content}; and what to call the conversation (default: as in the file)",
}


def look_at_threads(front: Front, command: str, line: str) -> Transcript | ThreadTable | None:
    """Run `command`; `line` is what stands behind it. The value of `history` is what it shows."""
    parser = thread_parser(command)
    args = parser.read(line)
    if args.help:
        print(parser.format_help())  # noqa: T201
        return None
    if command == "history":
        return _history(front, args)
    does = {"reset": _reset, "export": _export, "import": _import}[command]
    print(does(front, args))  # noqa: T201
    return None


def _history(front: Front, args: argparse.Namespace) -> Transcript | ThreadTable | None:
    from gleitzeit_nb.jupyter.llm.transcripts import ThreadTable, Transcript

    if not args.json:
        return Transcript(_known(front, args.name)) if args.name else ThreadTable.of(front.threads.values())
    chosen = [_known(front, args.name)] if args.name else list(front.threads.values())
    plain = [plain_thread(each) for each in chosen]
    print(json.dumps(plain[0] if args.name else plain, indent=2, ensure_ascii=True))  # noqa: T201
    return None


def _reset(front: Front, args: argparse.Namespace) -> str:
    """What is not there is no error: the first cell of a notebook may begin anew, whatever was before."""
    if args.all:
        if args.name:
            raise UsageError("%llm reset: either a name or --all.\nNothing is forgotten yet.")
        count = len(front.threads)
        front.threads.clear()
        return f"{count} {'conversation' if count == 1 else 'conversations'} forgotten."
    name = args.name or _default(front)
    gone = front.threads.pop(name, None)
    if gone is None:
        return f"Thread {name} holds nothing.{_near(front, name)}"
    return f"Thread {name}: {_turns(gone)} forgotten."


def _export(front: Front, args: argparse.Namespace) -> str:
    if not 1 <= len(args.words) <= 2:
        advice = "Write %llm export NAME FILE, such as %llm export main talk.md"
        raise UsageError(f"%llm export: which conversation, and into which file?\n{advice}")
    path = Path(args.words[-1]).expanduser()
    if len(args.words) == 1 and args.words[0] in front.threads:
        raise UsageError(f"%llm export: into which file?\nWrite %llm export {args.words[0]} {args.words[0]}.md")
    thread = _known(front, args.words[0] if len(args.words) == 2 else _default(front))
    if path.suffix.lower() == ".json":
        text = json.dumps(plain_thread(thread), indent=1, ensure_ascii=False) + "\n"
    elif path.suffix.lower() == ".md":
        from gleitzeit_nb.jupyter.llm.transcripts import as_markdown

        text = as_markdown(thread.name, thread.turns)
    else:
        raise UsageError(f"%llm export: {path.name[:80]!r} should end in .md (to be read) or .json (to be imported again).")
    shown = str(path)[:200]
    try:
        write_new(path, text.encode("utf-8", "backslashreplace"), replace=args.force)
    except FileExistsError as error:
        raise UsageError(f"%llm export: {shown} is there already, and nothing was written.\nAdd --force to replace it.") from error
    except OSError as error:
        raise UsageError(f"%llm export: {shown} cannot be written: {error.strerror or error}.\nNothing was written.") from error
    return f"Thread {thread.name}: {_turns(thread)} written to {path}."


def _import(front: Front, args: argparse.Namespace) -> str:
    if not 1 <= len(args.words) <= 2:
        raise UsageError("%llm import: which file?\nWrite %llm import FILE, or %llm import FILE NAME to call the conversation otherwise.")
    path = Path(args.words[0]).expanduser()
    try:
        if path.stat().st_size > MOST_BYTES:
            raise UsageError(f"%llm import: {str(path)[:200]} has more than {MOST_BYTES >> 20} MB. Nothing was read.")
        thread = read_thread(json.loads(path.read_text("utf-8")))
        if len(args.words) == 2:
            thread.name = thread_name(args.words[1])
    except OSError as error:
        raise UsageError(f"%llm import: {str(path)[:200]} cannot be read: {error.strerror or error}.") from error
    except (ValueError, RecursionError, argparse.ArgumentTypeError) as error:  # JSON's own errors are ValueErrors
        advice = "Nothing was read. %llm export NAME FILE.json writes such files."
        raise UsageError(f"%llm import: {str(path)[:200]}: {str(error)[:200]}.\n{advice}") from error
    there = front.threads.get(thread.name)
    if there is not None and not args.force:
        advice = f"Call it otherwise (%llm import {path.name[:80]} NAME), or add --force to replace that one."
        raise UsageError(f"%llm import: there is a thread {thread.name} with {_turns(there)} already.\n{advice}")
    front.threads[thread.name] = thread
    return f"Thread {thread.name}: {_turns(thread)} read. Go on with %%llm --thread {thread.name}"


def _default(front: Front) -> str:
    return front.settings.thread or DEFAULT_THREAD


def _known(front: Front, name: str) -> Thread:
    found = front.threads.get(name)
    if found is None:
        hint = _near(front, name) or (f" There are: {', '.join(front.threads)[:300]}." if front.threads else "")
        raise UsageError(f"there is no thread {name[:60]!r} in this notebook.{hint}\n%%llm --thread NAME begins one.")
    return found


def _near(front: Front, name: str) -> str:
    near = difflib.get_close_matches(name, front.threads, n=1)
    return f" Did you mean {near[0]}?" if near else ""


def _turns(thread: Thread) -> str:
    return f"{len(thread.turns)} {'turn' if len(thread.turns) == 1 else 'turns'}"
