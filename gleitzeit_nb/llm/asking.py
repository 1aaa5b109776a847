"""Requests made of what Python code holds: pictures, types and functions become plain data, before anything crosses to the pool's loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gleitzeit_nb.core.requests import Kind, LLMRequest, Message, RequestOptions, build_request

if TYPE_CHECKING:
    from typing_extensions import Unpack


def request_from(
    id: str,  # noqa: A002 - the request's own word
    kind: Kind,
    model: str,
    *,
    messages: str | Sequence[Message] = (),
    prompt: str | None = None,
    system: str | None = None,
    inputs: str | Sequence[str] = (),
    label: str = "",
    **keywords: Unpack[RequestOptions],
) -> LLMRequest:
    """`build_request` for callers who hand over objects. Raises ValueError or TypeError for what cannot be sent."""
    if keywords.get("images") is not None:
        from gleitzeit_nb.llm.images import encoded

        keywords["images"] = encoded(keywords["images"])
    if keywords.get("schema") is not None:
        from gleitzeit_nb.llm.schema import shape_of

        keywords["schema"] = shape_of(keywords["schema"])
    if keywords.get("tools"):
        from gleitzeit_nb.llm.tools import schema_of

        keywords["tools"] = tuple(map(schema_of, keywords["tools"] or ()))
    return build_request(
        id, kind, model, messages=_dialogue(messages), prompt=prompt, system=system, inputs=inputs, label=label, **keywords
    )


def _dialogue(messages: str | Sequence[Message]) -> str | Sequence[Message]:
    """Messages may carry pictures of their own; texts among them are base64, never paths: a dialogue may be a stranger's."""
    _refuse_odd(messages)
    if isinstance(messages, str) or not any(message.get("images") for message in messages):
        return messages
    from gleitzeit_nb.llm.images import picture

    def plain(image: Any) -> str:
        return image if isinstance(image, str) else picture(image)

    return [{**each, "images": [plain(image) for image in each["images"]]} if each.get("images") else each for each in messages]


def _refuse_odd(messages: object) -> None:
    """What a column of a data frame may hold, such as NaN, must not reach a server."""
    if not isinstance(messages, str | Sequence):
        raise TypeError(f"messages are a text, or a list such as [{{'role': 'user', 'content': '…'}}], not {type(messages).__name__}")
    if not isinstance(messages, str) and not all(isinstance(message, Mapping) for message in messages):
        raise TypeError("each message is a dictionary such as {'role': 'user', 'content': '…'}; many prompts are for map")
