"""One question about every file of a folder."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gleitzeit_nb.core.requests import Reply
from gleitzeit_nb.llm.mapping import Asks, MapItem
from gleitzeit_nb.llm.params import kind_of


@dataclass(frozen=True)
class FileResult:
    """What came of one file: a reply, or the error of reading or asking."""

    path: Path
    reply: Reply | None = None
    error: Exception | None = None

    @property
    def ok(self) -> bool:
        return self.error is None


@dataclass(frozen=True)
class BatchReport:
    """One result for each file, in the order of their names."""

    results: tuple[FileResult, ...]

    @property
    def failed(self) -> tuple[FileResult, ...]:
        return tuple(result for result in self.results if not result.ok)

    def __iter__(self) -> Iterator[FileResult]:
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.results)

    def __repr__(self) -> str:
        return f"<BatchReport {len(self)} files, {len(self.failed)} failed>"


@dataclass
class Batch:
    """The files, and what has become of them. A file is read when its turn has come, in a thread."""

    paths: tuple[Path, ...]
    kind: str
    prompt: str
    _asked: list[Path] = field(default_factory=list)  # by the index of the request
    _results: dict[Path, FileResult] = field(default_factory=dict)

    @classmethod
    def of(cls, directory: Path | str, pattern: str, method: str, prompt: str) -> Batch:
        """Raises FileNotFoundError when there is nothing to ask about, ValueError for an unknown method, TypeError for a useless prompt."""
        kind = kind_of(method)
        if kind == "embed" and prompt:
            raise TypeError("llm/embed makes a vector of each file as it is: it takes no prompt")
        folder = Path(directory)
        if not folder.is_dir():
            raise FileNotFoundError(f"there is no folder {str(directory)!r}")
        paths = tuple(sorted(path for path in folder.glob(pattern) if path.is_file()))
        if not paths:
            raise FileNotFoundError(f"no file in {str(directory)!r} matches {pattern!r}")
        return cls(paths, kind, prompt)

    async def run(self, mapped: Callable[[Asks], AsyncGenerator[MapItem, None]]) -> BatchReport:
        async for item in mapped(self._requests()):
            path = self._asked[item.index]
            self._results[path] = FileResult(path, item.reply, item.error)
        return BatchReport(tuple(self._results[path] for path in self.paths))

    async def _requests(self) -> AsyncGenerator[Any, None]:
        for path in self.paths:
            try:
                text = await asyncio.to_thread(path.read_text, "utf-8")
            except (OSError, UnicodeDecodeError) as error:
                self._results[path] = FileResult(path, error=error)
                continue
            self._asked.append(path)
            yield text if not self.prompt else f"{self.prompt}\n\n{text}"
