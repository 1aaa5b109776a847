"""The options of `%%sandbox` and of `gleitzeit-nb run` that set limits, one for each limit of a mode."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any


def _count(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number greater than 0")
    return value


# option, keyword of `execute`, how its value is read, its name in the help, help
_OPTIONS: tuple[tuple[str, str, Callable[[str], Any], str, str], ...] = (
    ("--timeout", "timeout", str, "S", "seconds of wall clock, such as 30 or 2m"),
    ("--memory", "memory_limit", str, "SIZE", "such as 512m or 2g; swap included"),
    ("--cpu", "cpu_limit", positive, "N", "CPUs, such as 0.5"),
    ("--pids", "pids_limit", _count, "N", "processes and threads"),
    ("--max-output", "max_output", str, "SIZE", "kept of stdout and of stderr, each"),
    ("--max-file-size", "max_file_size", str, "SIZE", "of one file"),
    ("--max-open-files", "max_open_files", _count, "N", "open at once, per process"),
    ("--workspace-size", "workspace_size", str, "SIZE", "of the work directory, and of /tmp"),
    ("--workspace-files", "workspace_files", _count, "N", "in the work directory, and in /tmp"),
    ("--shm-size", "shm_size", str, "SIZE", "of /dev/shm"),
    ("--max-value", "max_value", str, "SIZE", "of one variable in or out"),
    ("--max-display", "max_display", str, "SIZE", "of all that the run shows: values, tables, pictures"),
)


def add_limits(parser: argparse.ArgumentParser) -> None:
    for option, keyword, read, name, text in _OPTIONS:
        parser.add_argument(option, dest=keyword, type=read, metavar=name, help=text)


def limits_of(args: argparse.Namespace) -> dict[str, Any]:
    """The limits that were given, by the keywords of `execute`; None for the others. What they may be is judged with the mode's own."""
    return {keyword: getattr(args, keyword) for _, keyword, *_ in _OPTIONS}
