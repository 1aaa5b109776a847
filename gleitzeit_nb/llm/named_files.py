"""The files that a dictionary may name: those beneath one folder that the caller gives, or none.

A call's own keywords are the caller's words, and may name any file. A dictionary may come from anywhere (a workflow, a line of JSON, a
column of a table), so what its texts name is read only from where the caller said.
"""

from __future__ import annotations

import base64
import binascii
import errno
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gleitzeit_nb.core.plain import one_line

Folder = str | os.PathLike[str]

_NAME_CHARS = 120


def with_files(params: Mapping[str, Any], files_from: Folder | None) -> dict[str, Any]:
    """`params` with the pictures and the schema that its texts and paths name in place of their names. ValueError for one that it may not.

    `files_from`: the folder beneath which they lie, links resolved; relative names count from there. None: no file is read.
    """
    given = dict(params)
    if given.get("images") is not None:
        given["images"] = _pictures(given["images"], files_from)
    if isinstance(given.get("messages"), list | tuple):
        given["messages"] = [_message(each, files_from) for each in given["messages"]]
    if isinstance(given.get("schema"), str | os.PathLike):
        from gleitzeit_nb.llm.schema import MAX_FILE_BYTES, parsed

        name = os.fspath(given["schema"])
        given["schema"] = parsed(read_beneath(files_from, name, MAX_FILE_BYTES), f"the schema {one_line(name, _NAME_CHARS)!r}")
    return given


def _pictures(images: Any, files_from: Folder | None) -> Any:
    if isinstance(images, list | tuple):
        return [_picture(each, files_from) for each in images]
    return _picture(images, files_from)


def _message(message: Any, files_from: Folder | None) -> Any:
    """Texts in a message's `images` are base64, never names."""
    if not isinstance(message, Mapping) or not isinstance(message.get("images"), Sequence):
        return message
    return {**message, "images": [_picture(each, files_from) if isinstance(each, os.PathLike) else each for each in message["images"]]}


def _picture(value: Any, files_from: Folder | None) -> Any:
    if not isinstance(value, str | os.PathLike) or _is_picture(value):
        return value
    from gleitzeit_nb.llm.images import MAX_BYTES, picture

    name = os.fspath(value)
    data = read_beneath(files_from, name, MAX_BYTES)
    try:
        return picture(data)
    except ValueError as exc:
        raise ValueError(f"the file {one_line(name, _NAME_CHARS)!r}: {exc}") from exc


def _is_picture(value: str | os.PathLike[str]) -> bool:
    """Whether a text is a picture in base64, and no name."""
    from gleitzeit_nb.llm.images import dimensions

    try:
        return isinstance(value, str) and dimensions(base64.b64decode(value, validate=True)) is not None
    except (binascii.Error, ValueError):
        return False


def read_beneath(folder: Folder | None, name: str, most_bytes: int) -> bytes:
    """The file `name`, if it lies beneath `folder` with all links resolved. Raises ValueError that says why it is not read."""
    shown = one_line(name, _NAME_CHARS)
    if folder is None:
        raise ValueError(
            f"a dictionary names the file {shown!r}, and this call reads none: give the folder of its files as files_from, or the content"
        )
    if "\0" in name:
        raise ValueError(f"the file {shown!r} has a name that no file can have")
    try:
        base = Path(folder).resolve(strict=True)
        real = (base / name).resolve(strict=True)
        if not real.is_relative_to(base):
            raise ValueError(f"the file {shown!r} does not lie beneath {str(base)!r}, and a dictionary may name only what does")
        return _content(base, real.relative_to(base), shown, most_bytes)
    except (OSError, RuntimeError) as exc:  # RuntimeError: a circle of links, before Python 3.13
        why = exc.strerror if isinstance(exc, OSError) and exc.strerror else exc
        raise ValueError(f"the file {shown!r} beneath {str(folder)!r} cannot be read: {why}") from exc


def _content(base: Path, inner: Path, shown: str, most_bytes: int) -> bytes:
    """Opened step by step without following links, so that nobody can put one in the way after it was looked at."""
    descriptor = os.open(base, os.O_RDONLY | os.O_DIRECTORY)
    for part in inner.parts:
        above = descriptor
        try:
            descriptor = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=above)
        finally:
            os.close(above)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is no file")
        data = file.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise ValueError(f"the file {shown!r} is larger than {most_bytes >> 20} MiB")
    return data
