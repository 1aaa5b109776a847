"""`%%llm -n 3`: the same question asked several times at once, each with a seed of its own, answered wherever the pool has room."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gleitzeit_nb.core.plain import one_line
from gleitzeit_nb.core.remembering import fingerprint
from gleitzeit_nb.core.requests import Chunk, LLMRequest
from gleitzeit_nb.errors import AnswersFailedError, GleitzeitError, UsageError
from gleitzeit_nb.jupyter.llm.answer_columns import Column, ColumnsView, columns_html, columns_text, columns_view
from gleitzeit_nb.jupyter.values import CellValue, LLMReply

if TYPE_CHECKING:
    from gleitzeit_nb.jupyter.front import Front
    from gleitzeit_nb.jupyter.llm.conversation import Conversation
    from gleitzeit_nb.llm.pool import OllamaPoolManager


class Answers(list[LLMReply], CellValue):
    """The answers to one question, in the order of their columns; those that failed are not among them."""

    def __init__(self, replies: Sequence[LLMReply], asked: int, talk: Conversation | None = None) -> None:
        super().__init__(replies)
        self.asked = asked
        self._talk = talk

    __repr__ = CellValue.__repr__

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """IPython would show any list by its elements."""
        printer.text(self._repr_mimebundle_()["text/plain"])

    def content(self) -> dict[str, str]:
        columns = [Column(number, len(self), [each.text], state="whole", reply=each) for number, each in enumerate(self, 1)]
        return {"text/html": columns_html(columns), "text/plain": columns_text(columns)}

    def footer(self) -> str:
        instances = dict.fromkeys(one_line(each.instance, 40) for each in self)
        parts = [f"{len(self)} of {self.asked} answers" if len(self) < self.asked else f"{self.asked} answers", ", ".join(instances)]
        place = next((each.place for each in self if each.place is not None), None)
        if place is not None:
            number = next(number for number, each in enumerate(self, 1) if each.place is not None)
            parts.append(f"{place}: answer {number} of these; .choose(N) takes another")
        return " · ".join(part for part in parts if part)

    def choose(self, number: int) -> LLMReply:
        """Let the thread go on from this answer (the first is 1) instead of the one that it took. Raises UsageError."""
        if not 1 <= number <= len(self):
            raise UsageError(f"choose({number}): there are answers 1 to {len(self)}.")
        if self._talk is None:
            raise UsageError("choose: these answers belong to no conversation.\nAsk with %%llm --thread NAME -n 3")
        chosen = self._talk.instead(self[number - 1])
        for each in self:
            each.place = chosen.place if each is chosen else None
        return chosen


def ask_several(front: Front, request: LLMRequest, args: argparse.Namespace, talk: Conversation | None) -> Answers:
    """Ask, show, and hand over what came. Raises AnswersFailedError when some failed, whatever failed when all did; both after showing."""
    requests = seeded(request, args.answers, front.asked)
    columns = [Column(number, len(requests)) for number in range(1, len(requests) + 1)]
    stream = front.streams and not args.no_stream
    view = columns_view(front, stream=stream, quiet=args.quiet, as_json=(args.format or args.schema) is not None)
    try:
        _answer_all(front, view, requests, columns)
    except BaseException:
        for column in columns:
            column.state = "interrupted" if column.is_open else column.state
        view.finish(columns, _metadata(columns))
        raise
    replies = [column.reply for column in columns if column.reply is not None]
    if talk is not None and replies:
        talk.keep(replies[0])
    view.finish(columns, _metadata(columns))
    answers = Answers(replies, len(columns), talk)
    if not args.quiet:
        answers.stands_above(front.this_cell())
    if args.output:
        front.shell.user_ns[args.output] = answers
    _raise_failures(columns, args.output)
    return answers


def seeded(request: LLMRequest, count: int, asked: Counter[str]) -> list[LLMRequest]:
    """The request so many times, with seeds that follow each other: from the one that was given, else from 1. The same question asked
    again in this kernel gets the next ones, so that its answers are others; a recording of the whole notebook still knows them all."""
    given = request.options.get("seed")
    if isinstance(given, int) and not isinstance(given, bool):
        first = given
    else:
        key = fingerprint(request, request.model)
        first = 1 + asked[key]
        asked[key] += count
    return [
        replace(
            request,
            id=f"{request.id}.{number}",
            options={**request.options, "seed": first + number},
            label=f"{request.label} {number + 1}/{count}",
            session=request.session or f"answer {number + 1}",  # else all would wait for the instance that reads the question first
        )
        for number in range(count)
    ]


def _answer_all(front: Front, view: ColumnsView, requests: Sequence[LLMRequest], columns: Sequence[Column]) -> None:
    runtime, pool = front.runtime, front.engine.pool
    with contextlib.closing(runtime.iterate(_merged(pool, requests))) as batches:
        for batch in batches:
            for index, item in batch:
                columns[index].take(item)
            for request, column in zip(requests, columns, strict=True):
                if column.state == "waiting":
                    column.status = pool.describe(request.id)
            view.show(columns)


async def _merged(pool: OllamaPoolManager, requests: Sequence[LLMRequest]) -> AsyncGenerator[tuple[int, Chunk | GleitzeitError], None]:
    """The pieces of all answers as they come, each with the number of its request; an error ends one, closing this ends all."""
    arrived: asyncio.Queue[tuple[int, Chunk | GleitzeitError] | None] = asyncio.Queue()

    async def one(index: int, request: LLMRequest) -> None:
        try:
            async with aclosing(pool.stream_request(request)) as chunks:
                async for chunk in chunks:
                    arrived.put_nowait((index, chunk))
        except GleitzeitError as error:
            arrived.put_nowait((index, error))
        finally:
            arrived.put_nowait(None)

    running = [asyncio.ensure_future(one(index, request)) for index, request in enumerate(requests)]
    open_ones = len(running)
    try:
        while open_ones:
            item = await arrived.get()
            if item is None:
                open_ones -= 1
            else:
                yield item
        await asyncio.gather(*running)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def _metadata(columns: Sequence[Column]) -> dict[str, Any]:
    """What the notebook file remembers: of each answer where it came from, of what has none how it ended."""
    return {"gleitzeit_nb": {"answers": list(map(_told, columns))}}


def _told(column: Column) -> Any:
    if column.reply is not None:
        return column.reply.metadata()["gleitzeit_nb"]
    return {"ended": type(column.error).__name__ if column.error else column.state}


def _raise_failures(columns: Sequence[Column], name: str | None) -> None:
    failed = [(column.number, column.error) for column in columns if column.error is not None]
    if not failed:
        return
    if len(failed) == len(columns):
        raise failed[0][1]
    where = f"The others stand above, and in {name}." if name else "The others stand above; -o NAME would have bound them."
    rows = [(str(number), one_line(f"{type(error).__name__}: {str(error).partition(chr(10))[0]}", 200)) for number, error in failed]
    raise AnswersFailedError(f"{len(failed)} of {len(columns)} answers failed. {where}", rows)
