"""A cell that goes on with a conversation: what is sent of it, and what is kept when the answer is whole."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gleitzeit_nb.core.requests import LLMRequest, Message
from gleitzeit_nb.core.runner_options import context_of
from gleitzeit_nb.core.threads import Outgoing, Thread, Turn, density, outgoing, room_for_question, weight
from gleitzeit_nb.errors import UsageError

if TYPE_CHECKING:
    from gleitzeit_nb.jupyter.front import Front
    from gleitzeit_nb.jupyter.values import LLMReply


@dataclass(frozen=True)
class Place:
    """Where an answer stands in its conversation. `note`: what the reader should know of what was sent; "" when all of it was."""

    thread: str
    number: int
    note: str = ""

    def __str__(self) -> str:
        return f"thread {self.thread}, turn {self.number}"


class Conversation:
    """One cell's part in a thread. Nothing of a thread changes before `keep`: an answer that failed or was cut leaves it as it was."""

    def __init__(self, front: Front, thread: Thread) -> None:
        self._front = front
        self._thread = thread
        self._request: LLMRequest | None = None
        self._outgoing = Outgoing((), 0)
        self._system = ""
        self._cell = ""
        self._replaced: Turn | None = None  # whose place the next one takes: threads may go on while a job answers
        self._kept: Turn | None = None

    def __repr__(self) -> str:
        return f"<Conversation {self._thread!r}>"

    @property
    def unkept(self) -> str:
        """What to tell below an answer that did not come to its end."""
        return f"thread {self._thread.name} is as it was before"

    def of(self, request: LLMRequest, system: str | None) -> LLMRequest:
        """`request`, which is for the question alone, with what was said before. `system` None: the thread's own goes on."""
        thread, question = self._thread, request.messages[-1]
        self._system = thread.system if system is None else system
        self._cell = self._front.cell_id
        self._replaced = thread.turns[-1] if thread.repeats(self._cell, _content(question)) else None
        room = room_for_question(self._context(request), request.options.get("num_predict"))
        self._outgoing = outgoing(self._before, self._system, question, room=room, left_out=thread.left_out)
        label = f"{request.label} --thread {thread.name}"
        self._request = replace(request, messages=self._outgoing.messages, session=thread.name, label=label)
        return self._request

    def keep(self, reply: LLMReply) -> LLMReply:
        """The answer is whole: it is the thread's next turn. The same reply, which knows its place now."""
        request, usage = self._request, reply.reply.usage
        if request is None:
            raise RuntimeError("a turn was kept that nobody had asked for")
        said: tuple[Message, ...] = reply.said
        turn = Turn(
            (request.messages[-1], *said),
            system=self._system,
            model=reply.model,
            instance=reply.instance,
            at=time.time(),
            cell=self._cell,
            chars=sum(map(weight, (*request.messages, *said))),
            tokens=usage.tokens or None,
        )
        self._thread = self._front.threads.setdefault(self._thread.name, self._thread)
        self._thread.turns[:] = [*self._before, turn]
        self._kept = turn
        self._thread.left_out = self._outgoing.left_out
        reply.place = Place(self._thread.name, len(self._thread.turns), self._note(turn))
        return reply

    def instead(self, reply: LLMReply) -> LLMReply:
        """Another answer to the same question takes the place of the one that was kept. Raises UsageError."""
        turns = self._front.threads.get(self._thread.name, self._thread).turns
        if not turns or turns[-1] is not self._kept:
            raise UsageError(f"thread {self._thread.name} has gone on since, and its last turn is another.\nAsk again to choose.")
        self._replaced = self._kept
        return self.keep(reply)

    @property
    def _before(self) -> list[Turn]:
        """A cell that asks the thread's last question once more replaces that turn."""
        return [turn for turn in self._thread.turns if turn is not self._replaced]

    def _context(self, request: LLMRequest) -> int | None:
        last = self._thread.turns[-1] if self._thread.turns else Turn(())
        held = self._front.engine.pool.context_of(request.model or last.model, last.instance)
        return held or context_of(request.options)

    def _note(self, turn: Turn) -> str:
        """Never silently: what of the thread the model has not read, by our doing or by the server's."""
        context = self._front.engine.pool.context_of(turn.model, turn.instance)
        where = f"the context of {turn.model} on {turn.instance}" + (f" holds {context:,} tokens" if context else " is too small")
        count = self._outgoing.left_out
        if count:
            turns = "turn 1 was" if count == 1 else f"turns 1 to {count} were"
            return f"thread {self._thread.name}: {turns} not sent, since {where}. %llm reset begins anew"
        if context is not None and turn.chars * density(self._thread.turns) > context:
            grown = f"thread {self._thread.name} has outgrown its model"
            return f"{grown}: {where}, and the server leaves out the oldest. %llm reset begins anew"
        return ""


def _content(message: Message) -> str:
    return str(message.get("content", ""))
