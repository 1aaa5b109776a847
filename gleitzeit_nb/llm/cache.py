"""Answers kept on this machine, so that the same question costs nothing the second time.

One file per answer below the user's cache directory, in folders that only the user can enter. What cannot be read is a miss.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from gleitzeit_nb.config import cache_directory
from gleitzeit_nb.core.remembering import KeptReply, plain_reply
from gleitzeit_nb.core.requests import Reply

logger = logging.getLogger("gleitzeit_nb.llm")

VERSION = 1
FOLDER = "answers"
COUNT_EVERY = 64  # answers written until the folder is measured again: other kernels write there too
KEEP_SHARE = 0.9  # of the bound, after too much was there


class Usage(NamedTuple):
    """`entries` answers of together `size_bytes`."""

    entries: int
    size_bytes: int


class AnswerCache:
    """The answers in `directory`, at most `max_bytes` of them; what was used longest ago goes first. Blocks: call it on a thread."""

    def __init__(self, max_bytes: int, directory: Path | None = None) -> None:
        self.max_bytes = max_bytes
        self._directory = directory
        self._size_bytes = 0
        self._until_count = 0
        self._warned = False

    def __repr__(self) -> str:
        return f"<AnswerCache {self.directory}, at most {self.max_bytes:,} bytes>"

    @property
    def directory(self) -> Path:
        return self._directory or cache_directory() / FOLDER

    def get(self, key: str) -> KeptReply | None:
        """None: it is not there, or cannot be read."""
        path = self._path(key)
        try:
            data = json.loads(path.read_bytes())
            if data.get("version") != VERSION or data.get("key") != key:
                raise ValueError("it is the answer to something else")
            reply = KeptReply.read(data.get("reply"))
            os.utime(path)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, AttributeError, RecursionError) as error:
            logger.warning("the kept answer %s cannot be used and is dropped: %s", path.name, error)
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        return reply

    def put(self, key: str, reply: Reply) -> None:
        """Keep it. What stands in the way is logged once and costs no answer."""
        try:
            data = json.dumps({"version": VERSION, "key": key, "reply": plain_reply(reply)}, ensure_ascii=False).encode("utf-8", "replace")
            if len(data) > self.max_bytes:
                return
            path = self._path(key)
            self._make_private(path.parent)
            _write(path, data)
            self._make_room(len(data))
        except (OSError, TypeError, ValueError) as error:
            if not self._warned:
                self._warned = True
                logger.warning("answers cannot be kept in %s: %s", self.directory, error)

    def usage(self) -> Usage:
        sizes = [info.st_size for _, info in self._entries()]
        return Usage(len(sizes), sum(sizes))

    def clear(self) -> Usage:
        """Forget all of them; what was there."""
        found = list(self._entries())
        for path, _ in found:
            path.unlink(missing_ok=True)
        return Usage(len(found), sum(info.st_size for _, info in found))

    def _path(self, key: str) -> Path:
        return self.directory / key[:2] / f"{key}.json"

    def _make_private(self, folder: Path) -> None:
        """Made for the user alone; a folder that somebody else owns, or a link, is not written to."""
        folder.parent.parent.mkdir(parents=True, exist_ok=True)
        for each in (folder.parent, folder):
            with contextlib.suppress(FileExistsError):
                each.mkdir(mode=0o700)
            info = each.lstat()
            if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.getuid():
                raise PermissionError(f"{each} is not a folder of this user")
            if stat.S_IMODE(info.st_mode) & 0o077:
                each.chmod(0o700)

    def _make_room(self, added_bytes: int) -> None:
        self._size_bytes += added_bytes
        self._until_count -= 1
        if self._until_count > 0 and self._size_bytes <= self.max_bytes:
            return
        entries = sorted(self._entries(), key=lambda entry: entry[1].st_mtime_ns)
        self._until_count, self._size_bytes = COUNT_EVERY, sum(info.st_size for _, info in entries)
        most = self.max_bytes if self._size_bytes <= self.max_bytes else int(self.max_bytes * KEEP_SHARE)
        for path, info in entries:
            if self._size_bytes <= most:
                break
            path.unlink(missing_ok=True)
            self._size_bytes -= info.st_size

    def _entries(self) -> Iterator[tuple[Path, os.stat_result]]:
        for path in self.directory.glob("??/*.json"):
            with contextlib.suppress(OSError):  # another kernel has just dropped it
                yield path, path.lstat()


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all, for the user alone."""
    fresh = path.with_name(f".{secrets.token_hex(8)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
