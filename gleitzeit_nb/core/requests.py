"""What is asked of the pool, and what comes back: plain values, made once from the public keyword faces."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypedDict

from gleitzeit_nb.core import keep_alive

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from gleitzeit_nb.core.receipts import Candidate, Receipt

Kind = Literal["chat", "generate", "embed"]
Source = Literal["instance", "cache", "recording"]  # of a reply; else `instance` and the counts are those of the first time
Role = Literal["system", "user", "assistant", "tool"]
MOST_ALTERNATIVES = 20  # Ollama's limit for top_logprobs
Message = Mapping[str, Any]  # {"role", "content", "images"?, "tool_calls"?, …} as in Ollama's chat API


class AnswerShape(Protocol):
    """What a structured answer is like. `format` goes to the server; `read` makes the object, or raises ValueError: what does not fit."""

    @property
    def format(self) -> Mapping[str, Any]: ...

    def read(self, text: str) -> Any: ...


class RequestOptions(TypedDict, total=False):
    """The keywords that every call of the pool takes beside model and messages."""

    tags: Sequence[str]
    instance_tags: Sequence[str]  # synonym of `tags`
    strategy: str | None  # a name, or a LoadBalancingStrategy
    load_balancing_strategy: str | None  # synonym of `strategy`
    instance: str | None  # hard: this instance or nobody
    instance_preference: str | None  # a preference, never a filter
    fallback_model: str | Sequence[str] | None
    require_gpu: bool
    min_context: int | None  # tokens that the model's context must hold
    force_ctx: bool  # load the model anew where runner options (num_ctx, num_gpu …) ask for it
    private: bool  # only instances on this machine
    max_latency: float | None  # ms; a preference, never a filter
    deadline: float | None  # s, over queue and all tries
    restart_on_cut: bool  # ask again from the start, elsewhere, when the answer breaks off after its first token
    priority: int  # lower goes first; one step is worth ten seconds of waiting
    session: str | None
    format: str | Mapping[str, Any] | None  # "json" or a JSON Schema; the answer is not checked
    schema: Any  # a type, a JSON Schema or a .json file: the answer is checked, repaired once, and given as `Reply.parsed`
    options: Mapping[str, Any] | None  # Ollama's model options
    keep_alive: str | float | None
    think: bool | str | None
    tools: Sequence[Any] | None  # schemas as in Ollama's API, or Python functions, which are described and never run
    images: Any  # one or a list: paths, bytes, PIL images, figures, arrays, base64; added to the last user message
    suffix: str | None  # of a generate request: what follows the gap that is to be filled
    raw: bool  # of a generate request: without the model's template
    cache: bool | None  # take the answer from this machine's cache, and keep it there; None: as configured
    logprobs: bool | int | None  # a number: with so many alternatives for each token


class RequestParts(RequestOptions, total=False):
    """What a request is made of beside its id, kind and model: what is asked, and the keywords of every call."""

    messages: str | Sequence[Message]
    prompt: str | None
    system: str | None
    inputs: str | Sequence[str]
    label: str


@dataclass(frozen=True)
class LLMRequest:
    """What is wanted. `id` names the request in events, progress and the dashboard."""

    id: str
    kind: Kind
    model: str  # "": the pool's default model
    messages: tuple[Message, ...] = ()
    prompt: str | None = None
    system: str | None = None
    inputs: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    strategy: str | None = None
    instance: str | None = None
    instance_preference: str | None = None
    fallback_models: tuple[str, ...] = ()
    require_gpu: bool = False
    min_context: int | None = None
    force_ctx: bool = False
    restart_on_cut: bool = False
    private: bool = False
    max_latency_ms: float | None = None
    deadline_s: float | None = None
    priority: int = 0
    stands_back: bool = False  # where the queue has no room for it, it waits outside instead of failing, and leaves half to others
    session: str | None = None
    format: str | Mapping[str, Any] | None = None
    schema: AnswerShape | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    keep_alive_s: float | None = None  # -1: for ever
    think: bool | str | None = None
    tools: tuple[Mapping[str, Any], ...] = ()
    suffix: str | None = None
    raw: bool = False
    cache: bool | None = None
    logprobs: int | None = None  # alternatives per token; None: no logprobs
    alias: str = ""  # the name that the user gave, where it stood for others
    label: str = ""  # what the dashboard calls it, such as "[12] %%llm"
    images: tuple[str, ...] = ()  # of a generate request; those of a chat stand in its messages


def build_request(
    id: str,  # noqa: A002 - the field's own name
    kind: Kind,
    model: str,
    **parts: Unpack[RequestParts],
) -> LLMRequest:
    """The one value that the public keyword faces make of what they are given.

    Raises TypeError for an unknown keyword (naming the nearest) and for two synonyms that disagree, ValueError for a bad value.
    """
    given: dict[str, Any] = dict(parts)
    messages, inputs = given.pop("messages", ()), given.pop("inputs", ())
    said = {name: given.pop(name) for name in ("prompt", "system", "label") if name in given}
    _refuse_unknown(given)
    _refuse_misplaced(kind, given)
    for synonym, name in (("instance_tags", "tags"), ("load_balancing_strategy", "strategy")):
        _fold(given, synonym, name)
    images, shape = _texts(given.pop("images", None)), given.get("schema")
    if shape is not None:
        given["format"] = shape.format
    dialogue = ({"role": "user", "content": messages},) if isinstance(messages, str) else tuple(messages)
    fields = [(*_FIELDS[name], value) for name, value in given.items() if value is not None]
    return LLMRequest(
        id=id,
        kind=kind,
        model=model,
        messages=_with_images(dialogue, images) if kind == "chat" else dialogue,
        inputs=(inputs,) if isinstance(inputs, str) else tuple(inputs),
        **said,
        **{field: read(value) for field, read, value in fields},
        images=images if kind == "generate" else (),
    )


def _refuse_unknown(given: Mapping[str, Any]) -> None:
    known = RequestOptions.__annotations__
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
            raise TypeError(f"unknown keyword {name!r} of a request; {hint}")


def _refuse_misplaced(kind: Kind, given: Mapping[str, Any]) -> None:
    for name in ("suffix", "raw"):
        if given.get(name) and kind != "generate":
            raise TypeError(f"{name!r} is for generate: a {kind} request has no such thing")

    if given.get("schema") is not None and (kind == "embed" or given.get("format") is not None):
        raise TypeError("'schema' is for answers in text" if kind == "embed" else "give either 'schema', which is checked, or 'format'")


def _alternatives(value: object) -> int | None:
    """Ollama's `logprobs` and `top_logprobs` in one number. 0: only the token that was chosen."""
    if value is False:
        return None
    count = 0 if value is True else value
    if not isinstance(count, int) or not 0 <= count <= MOST_ALTERNATIVES:
        raise ValueError(f"logprobs must be True or a number from 0 to {MOST_ALTERNATIVES}, not {value!r}")
    return count


def _fold(given: dict[str, Any], synonym: str, name: str) -> None:
    value = given.pop(synonym, None)
    if value is None:
        return
    if given.get(name) is not None and given[name] != value:
        raise TypeError(f"{name!r} and its synonym {synonym!r} say different things: give one of them")
    given[name] = value


def _texts(value: str | Sequence[str] | None) -> tuple[str, ...]:
    if not value:
        return ()
    return (value,) if isinstance(value, str) else tuple(value)


def _tags(value: str | Sequence[str] | None) -> tuple[str, ...]:
    names = value.split(",") if isinstance(value, str) else value or ()
    return tuple(name for name in map(str.strip, names) if name)


def _positive(name: str, value: float) -> float:
    if not (value > 0 and math.isfinite(value)):
        raise ValueError(f"{name} must be a number greater than 0, not {value!r}")
    return float(value)


def _count(name: str, value: int) -> int:
    if type(value) is not int or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, not {value!r}")
    return value


def _keep_alive_s(value: str | float) -> float:
    try:
        return keep_alive.seconds(value)
    except ValueError as exc:
        raise ValueError(f"keep_alive {exc}") from None


def _as_it_is(value: Any) -> Any:
    return value


_FIELDS: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    "tags": ("tags", _tags),
    "strategy": ("strategy", str),  # a plain text also of a member of an enumeration
    "instance": ("instance", _as_it_is),
    "instance_preference": ("instance_preference", _as_it_is),
    "fallback_model": ("fallback_models", _texts),
    "require_gpu": ("require_gpu", bool),
    "min_context": ("min_context", partial(_count, "min_context")),
    "force_ctx": ("force_ctx", bool),
    "restart_on_cut": ("restart_on_cut", bool),
    "private": ("private", bool),
    "max_latency": ("max_latency_ms", partial(_positive, "max_latency")),
    "deadline": ("deadline_s", partial(_positive, "deadline")),
    "priority": ("priority", int),
    "session": ("session", _as_it_is),
    "format": ("format", _as_it_is),
    "schema": ("schema", _as_it_is),
    "options": ("options", dict),
    "keep_alive": ("keep_alive_s", _keep_alive_s),
    "think": ("think", _as_it_is),
    "tools": ("tools", tuple),
    "suffix": ("suffix", _as_it_is),
    "raw": ("raw", bool),
    "cache": ("cache", _as_it_is),
    "logprobs": ("logprobs", _alternatives),
}
"""For each keyword, where it stands in an LLMRequest and how it is read; None says nothing."""


def _with_images(dialogue: tuple[Message, ...], images: tuple[str, ...]) -> tuple[Message, ...]:
    """Images belong to the last thing that the user said."""
    if not images:
        return dialogue
    for index in range(len(dialogue) - 1, -1, -1):
        if dialogue[index].get("role") == "user":
            message = {**dialogue[index], "images": [*dialogue[index].get("images", ()), *images]}
            return (*dialogue[:index], message, *dialogue[index + 1 :])
    raise ValueError("images need a message of the user to belong to")


@dataclass(frozen=True)
class Usage:
    """Ollama's counts and durations of one answer; durations in s. None: the server did not say."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_s: float | None = None
    load_s: float | None = None
    prompt_s: float | None = None
    completion_s: float | None = None

    @property
    def tokens(self) -> int:
        """Read and written, as far as the server said."""
        return (self.prompt_tokens or 0) + (self.completion_tokens or 0)

    @property
    def waited_s(self) -> float | None:
        """What the server's own parts leave of the whole: the wait for one of its slots. None: it did not name the parts."""
        parts = (self.load_s, self.prompt_s, self.completion_s)
        if self.total_s is None or self.completion_s is None:
            return None
        return max(0.0, self.total_s - sum(part for part in parts if part is not None))

    @property
    def tokens_per_s(self) -> float | None:
        if not self.completion_tokens or not self.completion_s:
            return None
        return self.completion_tokens / self.completion_s


@dataclass(frozen=True)
class Attempt:
    """One try of one request: who was asked, how it ended ("ok", or the cause of the failure), and after how long.

    `cold`: the model had to be loaded, as far as was known. `first_line_s`: when the answer began; None: it never did.
    """

    instance: str
    outcome: str
    detail: str
    elapsed_s: float
    cold: bool = False
    first_line_s: float | None = None

    @property
    def load_s(self) -> float:
        """What of it went into loading the model, and whatever else came before the first token then."""
        return (self.elapsed_s if self.first_line_s is None else self.first_line_s) if self.cold else 0.0


@dataclass(frozen=True)
class Route:
    """Who answered and why: wait in the queue, every try, every candidate's verdict at the last pick."""

    queue_s: float
    attempts: tuple[Attempt, ...]
    judged: tuple[Candidate, ...]
    strategy: str

    @property
    def candidates(self) -> tuple[tuple[str, str], ...]:
        """(instance id, "picked: …" or why not)"""
        return tuple((each.instance, each.text) for each in self.judged)

    @property
    def retries(self) -> int:
        return max(0, len(self.attempts) - 1)


@dataclass(frozen=True)
class Reply:
    """One whole answer. The text is untrusted. `elapsed_s` counts from the request's arrival at the pool."""

    text: str
    model: str
    instance: str
    usage: Usage
    route: Route
    elapsed_s: float
    done_reason: str = "stop"
    thinking: str = ""
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    embeddings: tuple[tuple[float, ...], ...] = ()
    receipt: Receipt | None = field(default=None, repr=False)
    source: Source = "instance"
    alias: str = ""  # the name that was asked for, where it stood for `model`
    parsed: Any = None  # the object that a `schema` made of the text
    repairs: int = 0  # how often the answer was asked for again because it did not fit the schema
    logprobs: tuple[Mapping[str, Any], ...] = ()  # {"token", "logprob", "bytes"?, "top_logprobs"?} for each token
    notices: tuple[str, ...] = ()  # what the caller should know of how it was asked, such as an option that was not followed


class Chunk(NamedTuple):
    """A piece of an answer as it arrives. The last one has no text and carries `reply`. `restart`: what came so far is void."""

    text: str = ""
    thinking: str = ""
    reply: Reply | None = None
    restart: bool = False
