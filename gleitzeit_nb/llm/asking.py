"""Requests made of what Python code holds: pictures, types and functions become plain data, before anything crosses to the pool's loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gleitzeit_nb.core.requests import Kind, LLMRequest, Message, RequestParts, build_request

if TYPE_CHECKING:
    from typing_extensions import Unpack


def request_from(
    id: str,  # noqa: A002 - the request's own word
    kind: Kind,
    model: str,
    **parts: Unpack[RequestParts],
) -> LLMRequest:
    """`build_request` for callers who hand over objects. Raises ValueError or TypeError for what cannot be sent."""
    if parts.get("images") is not None:
        from gleitzeit_nb.llm.images import encoded

        parts["images"] = encoded(parts["images"])
    if parts.get("schema") is not None:
        from gleitzeit_nb.llm.schema import shape_of

        parts["schema"] = shape_of(parts["schema"])
    if parts.get("tools"):
        from gleitzeit_nb.llm.tools import schema_of

        parts["tools"] = tuple(map(schema_of, parts["tools"] or ()))
    if "messages" in parts:
        parts["messages"] = _dialogue(parts["messages"])
    return build_request(id, kind, model, **parts)


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
