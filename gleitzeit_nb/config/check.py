"""A layer against the models: what is wrong with it, in the words of the person who wrote it."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import ValidationError

from gleitzeit_nb.config.layers import Key, Layer
from gleitzeit_nb.config.model import RootSection
from gleitzeit_nb.config.section import Section
from gleitzeit_nb.config.values import shown
from gleitzeit_nb.errors import ConfigError

_MOST_SHOWN = 6
_SILENT_KEYS = frozenset({"api_key", "bearer", "basic_auth", "headers", "client_key_password", "proxy", "url", "environment"})
"""Keys whose values are never repeated in a message: they hold secrets, or may."""


@dataclass(frozen=True)
class Checked:
    """A layer that has the right shape."""

    layer: Layer
    root: RootSection


def checked(layer: Layer) -> Checked:
    """Raises ConfigError that names every place that is wrong (the first few), what is expected there, or the nearest valid key."""
    try:
        root = RootSection.model_validate(dict(layer.data))
    except ValidationError as exc:
        problems = list(dict.fromkeys(_problem(layer, dict(error)) for error in exc.errors(include_url=False)))
        more = f"\n(and {len(problems) - _MOST_SHOWN} more)" if len(problems) > _MOST_SHOWN else ""
        # The cause holds every value that was written, keys of instances among them: it is not passed on.
        raise ConfigError("\n".join(problems[:_MOST_SHOWN]) + more) from None
    return Checked(layer, root)


def _problem(layer: Layer, error: dict[str, Any]) -> str:
    loc: Key = error["loc"]
    if error["type"] == "extra_forbidden":
        return f"{layer.place(loc)}: {_unknown_key(loc)}"
    if error["type"] == "missing":
        return f"{layer.place(loc[:-1])}: {dotted(loc[:-1])} needs the key {loc[-1]!r}"
    path, value = _reached(layer.data, loc)
    expected = expectation(error)
    return f"{layer.place(path)}: {dotted(path)} {expected}{'' if expected.endswith('?') else written_value(error['type'], loc, value)}"


def _unknown_key(loc: Key) -> str:
    section, key = section_at(loc[:-1]), str(loc[-1])
    known = section.keys()
    where = f" in {dotted(loc[:-1])}" if len(loc) > 1 else ""
    if key in section.later:
        return f"this version has no {key!r}{where}: it {section.later[key]}"
    if key in known:
        other = next(name for name, field in known.items() if field == known[key] and name != key)
        return f"{key!r}{where} means the same as {other!r}, which stands there too: keep one"
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"
    return f"unknown key {shown(key)}{where}; {hint}"


def expectation(error: dict[str, Any]) -> str:
    """What one of pydantic's errors expects, in the words of this package."""
    kind, message = error["type"], str(error["msg"])
    if kind == "value_error":
        return str(error["ctx"]["error"])
    if kind in ("model_type", "dict_type", "model_attributes_type"):
        return "should be a mapping (keys with values)"
    if kind in ("list_type", "tuple_type"):
        return "should be a list"
    if kind == "string_pattern_mismatch":
        return "should be a name of at most 64 letters, digits, dots, dashes and underscores"
    for theirs, ours in (("Input should be", "should be"), ("String should", "should"), ("a valid string", "a text (in quotes)")):
        message = message.replace(theirs, ours)
    return message


def written_value(kind: str, loc: Key, value: Any) -> str:
    """What stands there instead, unless it may be secret or says nothing."""
    if any(part in _SILENT_KEYS for part in loc) or isinstance(value, dict) or (isinstance(value, list) and kind == "value_error"):
        return ""
    return f", not {shown(value)}"


def _reached(data: Any, loc: Key) -> tuple[Key, Any]:
    """As far along `loc` as the data goes: pydantic appends names of its own where a type has alternatives."""
    path: list[str | int] = []
    for part in loc:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            break
        path.append(part)
    return tuple(path), data


def dotted(path: Key) -> str:
    """`ollama.instances[0].url`; the whole when empty."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.lstrip(".") or "the configuration"


def section_at(path: Key) -> type[Section]:
    """The model that describes what stands at `path`."""
    section: type[Section] = RootSection
    for part in path:
        field = section.keys().get(str(part)) if isinstance(part, str) else None
        if field is not None:
            section = _section_in(section.model_fields[field].annotation) or section
    return section


def _section_in(annotation: Any) -> type[Section] | None:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return next(filter(None, (_section_in(arg) for arg in get_args(annotation))), None)
