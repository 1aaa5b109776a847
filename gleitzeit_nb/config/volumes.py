"""Volumes and their roots as they are written: read, and counted from the folder of the file that names them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import PlainValidator

from gleitzeit_nb.core.volumes import Volume, read_volumes


def absolute(path: str, folder: str | Path) -> str:
    """`path` without ~ and '..', counted from `folder` when it is relative. Raises ValueError."""
    try:
        written = str(Path(path).expanduser())
    except RuntimeError:
        raise ValueError("should be a path without ~: no home directory is known") from None
    return os.path.normpath(os.path.join(folder, written))


def _read(value: object) -> tuple[Volume, ...]:
    return () if value is None else read_volumes(value)


def _roots(value: object) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)):
        raise ValueError("should be a list of folders")
    for each in value:
        if not isinstance(each, str) or not each.strip() or not each.isprintable():
            raise ValueError("should be a list of folders")
        if os.path.normpath(each) == "/":
            raise ValueError("should name folders below which volumes may lie, and / is everything")
    return tuple(value)


Volumes = Annotated[tuple[Volume, ...], PlainValidator(_read)]
Roots = Annotated[tuple[str, ...], PlainValidator(_roots)]


def anchored(part: Mapping[str, Any], folder: Path | None) -> dict[str, Any]:
    """A layer's part of the sandbox's settings with absolute paths; `folder` None: what is no file counts from the working directory."""
    start = folder or Path.cwd()
    found = dict(part)
    if "volume_roots" in part:
        found["volume_roots"] = tuple(absolute(each, start) for each in part["volume_roots"])
    if part.get("wheelhouse") is not None:
        found["wheelhouse"] = absolute(part["wheelhouse"], start)
    if "modes" in part:
        found["modes"] = {mode_id: _mode(mode, start) for mode_id, mode in part["modes"].items()}
    return found


def _mode(mode: Mapping[str, Any], start: Path) -> Mapping[str, Any]:
    if not mode.get("volumes"):
        return mode
    return {**mode, "volumes": tuple(replace(each, host=absolute(each.host, start)) for each in mode["volumes"])}
