"""Conversations of a notebook, kept turn by turn, and how much of one goes out with the next question. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from gleitzeit_nb.core.requests import Message

DEFAULT_THREAD = "main"
NAME_RULE = "letters, digits, dots, dashes and underscores, at most 60 of them, and no dash or dot at its beginning"

_NAME = re.compile(r"\w[\w.-]{0,59}\Z")
_USUAL_DENSITY = 1 / 3  # tokens per character until a server has counted: rather too many, so that nothing is cut off unseen
_DENSITIES = (0.05, 2.0)
_COUNTED_TURNS = 3
_PICTURE_CHARS = 3000  # what a picture weighs among characters: about a thousand tokens
_ANSWER_SHARE = 4  # a quarter of the context is kept free for the answer, unless the request says how long that may be
_AFTER_LEAVING_OUT = 0.75  # of the room is filled then, so that the next turns begin alike and what was read of them is used again


def is_name(text: str) -> bool:
    """Whether a thread may be called that."""
    return _NAME.match(text) is not None


@dataclass(frozen=True)
class Turn:
    """One question and its answer. `messages` begins with the question and ends with the answer; between them tools may have spoken.

    `chars`, `tokens`: of all that was sent for it and answered; tokens as the server counted them, None: it did not say.
    `cell`: the front end's name for the cell that asked; "": not known. `at`: wall clock (s since the epoch).
    """

    messages: tuple[Message, ...]
    system: str = ""
    model: str = ""
    instance: str = ""
    at: float = 0.0
    cell: str = ""
    chars: int = 0
    tokens: int | None = None

    @property
    def question(self) -> str:
        return text_of(self.messages[0])

    @property
    def answer(self) -> str:
        """What the model said last."""
        return text_of(self.messages[-1])


@dataclass
class Thread:
    """The turns, oldest first. `left_out`: how many of the oldest were not sent the last time, since they did not fit."""

    name: str
    turns: list[Turn] = field(default_factory=list)
    left_out: int = 0

    def __repr__(self) -> str:
        return f"<Thread {self.name}, {len(self.turns)} turns>"

    @property
    def system(self) -> str:
        """The system prompt that holds now."""
        return self.turns[-1].system if self.turns else ""

    def repeats(self, cell: str, question: str) -> bool:
        """Whether a cell that asks this asks its turn again: the thread's last one is its own, and has the same question."""
        return bool(cell and self.turns and self.turns[-1].cell == cell and self.turns[-1].question == question)


@dataclass(frozen=True)
class Outgoing:
    """The messages of a request that goes on with a thread, and how many of its oldest turns are not among them."""

    messages: tuple[Message, ...]
    left_out: int


def outgoing(turns: Sequence[Turn], system: str, question: Message, *, room: int | None = None, left_out: int = 0) -> Outgoing:
    """What is sent with `question`. `room`: tokens that it may have; None: nobody knows, so all of it goes.

    When the turns do not fit, so many of the oldest are left out that some room remains; those that were `left_out` before stay so until
    all of them fit.
    """
    head: tuple[Message, ...] = ({"role": "system", "content": system},) if system else ()
    fixed = sum(map(weight, (*head, question)))
    sizes = [sum(map(weight, turn.messages)) for turn in turns]
    first = 0
    if room is not None:
        most = room / density(turns)
        first = min(left_out, len(turns))
        if fixed + sum(sizes) <= most:
            first = 0
        elif fixed + sum(sizes[first:]) > most:
            while first < len(turns) and fixed + sum(sizes[first:]) > most * _AFTER_LEAVING_OUT:
                first += 1
    said = tuple(message for turn in turns[first:] for message in turn.messages)
    return Outgoing((*head, *said, question), first)


def room_for_question(context: int | None, most_answer: object = None) -> int | None:
    """Of a model's context, the tokens that are left when the answer has its share. `most_answer`: the request's num_predict."""
    if context is None:
        return None
    limited = isinstance(most_answer, int) and not isinstance(most_answer, bool) and most_answer > 0
    answer = min(most_answer, context // 2) if limited and isinstance(most_answer, int) else context // _ANSWER_SHARE
    return max(0, context - answer)


def density(turns: Sequence[Turn]) -> float:
    """Tokens per character, as servers counted them lately. Old servers leave out what they had read before, so the highest counts."""
    counted = [turn for turn in turns if turn.tokens and turn.chars][-_COUNTED_TURNS:]
    measured = max(((turn.tokens or 0) / turn.chars for turn in counted), default=_USUAL_DENSITY)
    return min(max(measured, _DENSITIES[0]), _DENSITIES[1])


def weight(message: Message) -> int:
    """A message's size in characters, its pictures and calls included."""
    calls = sum(len(str(call)) for call in message.get("tool_calls") or ())
    return len(text_of(message)) + calls + _PICTURE_CHARS * len(message.get("images") or ())


def text_of(message: Message) -> str:
    content = message.get("content")
    return content if isinstance(content, str) else ""


def turns_of(messages: Sequence[Message]) -> list[Turn]:
    """A dialogue as turns, each from one message of the user to the next; a system prompt holds until another comes.

    Raises ValueError where nobody asked for an answer, and for a question without one.
    """
    turns: list[Turn] = []
    system = ""
    begun: list[Message] = []
    for message in messages:
        role = message["role"]
        if role in ("user", "system"):
            turns += _ended(begun, system, len(turns) + 1)
            begun = []
        if role == "system":
            system = text_of(message)
        elif role == "user" or begun:
            begun.append(message)
        else:
            raise ValueError("it begins with an answer, and nobody had asked")
    return [*turns, *_ended(begun, system, len(turns) + 1)]


def _ended(begun: Sequence[Message], system: str, number: int) -> list[Turn]:
    if not begun:
        return []
    if begun[-1]["role"] != "assistant":
        raise ValueError(f"turn {number} does not end with an answer")
    return [Turn(tuple(begun), system)]
