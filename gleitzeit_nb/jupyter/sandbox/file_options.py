"""The options of `%%sandbox` that carry files: in from the notebook's machine, and what the code leaves back to it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from gleitzeit_nb.core.execution import ExecutionResult
from gleitzeit_nb.errors import UsageError

if TYPE_CHECKING:
    from gleitzeit_nb.jupyter.arguments import MagicParser
    from gleitzeit_nb.sandbox.artifacts import ArtifactFolder, Saved
    from gleitzeit_nb.sandbox.request import RunOptions


def add_files(parser: MagicParser) -> None:
    add = parser.add_argument
    parser.section("files")
    add(
        "--file",
        dest="files",
        action="append",
        metavar="PATH[:NAME]",
        offers="file",
        help="a file, directory or pattern to pass in; may be repeated",
    )
    add("--artifacts", metavar="DIR", offers="folder", help="write the files that the code leaves into this directory")
    add("--overwrite", action="store_true", help="also in place of files there that no earlier run wrote")


def files_of(args: argparse.Namespace) -> RunOptions:
    """What of it goes with the run. UsageError for files that are not there, and options that mean nothing."""
    from gleitzeit_nb.sandbox.files import named

    if args.overwrite and not args.artifacts:
        raise UsageError("%%sandbox: --overwrite says how files are written.\nName the directory for them: --artifacts DIR.")
    files = named([str(Path(each).expanduser()) for each in args.files or ()])
    return {"files": files, "artifacts": bool(args.artifacts)}


def save(folder: ArtifactFolder, result: ExecutionResult, args: argparse.Namespace) -> tuple[Saved, ...]:
    """Into the directory that the cell names. TransferError when something there would be lost."""
    if not args.artifacts:
        return ()
    return folder.save(Path(args.artifacts).expanduser(), result.artifacts, overwrite=args.overwrite)
