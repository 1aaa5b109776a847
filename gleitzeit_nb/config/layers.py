"""One layer of the configuration: what a file, the environment or a call wrote, and where each key of it stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gleitzeit_nb.config.files import read_file
from gleitzeit_nb.errors import ConfigError

Key = tuple[str | int, ...]

MAX_FILE_BYTES = 1 << 20
_MAX_NODES = 20_000
_MAX_DEPTH = 40


@dataclass(frozen=True)
class Layer:
    """`places` names for each key path where it stands ("config.yaml:12", "GLEITZEIT_MODEL"); the longest known prefix counts.

    `trusted` False: a file that merely lay in a working directory. `folder`: what relative paths in a file are relative to.
    """

    origin: str
    data: Mapping[str, Any]
    trusted: bool = True
    places: Mapping[Key, str] = field(default_factory=dict)
    folder: Path | None = None

    def place(self, path: Key) -> str:
        for length in range(len(path), -1, -1):
            if path[:length] in self.places:
                return self.places[path[:length]]
        return self.origin


def layer_of_mapping(data: Mapping[str, Any], origin: str) -> Layer:
    """A dictionary that code passed in. Mappings of any kind become plain ones; secrets and numbers stay as they are."""
    return Layer(origin, _plain(data, origin, 0))


def _plain(value: Any, origin: str, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise ConfigError(f"{origin}: nested more than {_MAX_DEPTH} levels deep, or within itself")
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise ConfigError(f"{origin}: every key must be a text, and one is of type {type(key).__name__}")
        return {key: _plain(item, origin, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, origin, depth + 1) for item in value]
    return value


def layer_of_file(path: Path, *, trusted: bool = True) -> Layer:
    """Read a YAML (or JSON) file with the line of every key. Raises ConfigError for what cannot be read as configuration."""
    text = _read(path)
    import yaml

    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        reader = _Reader(str(path), loader)
        data = reader.value(node, (), 0) if node is not None else {}
    except yaml.YAMLError as exc:
        raise ConfigError(_yaml_message(path, exc)) from None  # its own text would quote the file, which may hold a key
    except RecursionError:
        raise ConfigError(f"{path}: nested too deep for a configuration") from None
    finally:
        loader.dispose()
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise ConfigError(f"{path}:1: should be a mapping with the keys 'ollama' and 'python', or with both under 'providers'")
    return Layer(str(path), data, trusted, reader.places, path.absolute().parent)


def _read(path: Path) -> str:
    raw = read_file(path, f"{path}: the configuration", MAX_FILE_BYTES)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not a UTF-8 text (byte {raw[:1]!r} … cannot be read)") from None


def _yaml_message(path: Path, error: Any) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f"{path}:{mark.line + 1}" if mark is not None else str(path)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "not YAML"
    return f"{where}: cannot be read as YAML: {problem}"


class _Reader:
    """YAML nodes into plain values, noting each key's line. Aliases are followed, within a bound on the whole."""

    def __init__(self, origin: str, loader: Any) -> None:
        self.origin = origin
        self.loader = loader
        self.places: dict[Key, str] = {}
        self.nodes = 0

    def value(self, node: Any, path: Key, depth: int) -> Any:
        import yaml

        self.nodes += 1
        if self.nodes > _MAX_NODES or depth > _MAX_DEPTH:
            raise ConfigError(f"{self._at(node)}: too large or too deep for a configuration (aliases that repeat themselves?)")
        self.places.setdefault(path, self._at(node))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, index), depth + 1) for index, item in enumerate(node.value)]
        return self._scalar(node)

    def _scalar(self, node: Any) -> Any:
        try:
            return self.loader.construct_object(node)
        except ValueError:  # such as a date with a 13th month, or a number of thousands of digits
            raise ConfigError(f"{self._at(node)}: this value cannot be read; put it in quotes if it is a text") from None

    def _mapping(self, node: Any, path: Key, depth: int) -> dict[str, Any]:
        self._refuse_twice(node)
        self.loader.flatten_mapping(node)  # merge keys (<<): what they bring comes first, so that own keys win
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self._scalar(key_node) if key_node.id == "scalar" else None
            if not isinstance(key, str):
                raise ConfigError(f"{self._at(key_node)}: every key must be a text; put it in quotes")
            inner: Key = (*path, key)
            self.places[inner] = self._at(key_node)
            found[key] = self.value(value_node, inner, depth + 1)
        return found

    def _refuse_twice(self, node: Any) -> None:
        seen: set[str] = set()
        for key_node, _ in node.value:
            if key_node.id == "scalar" and key_node.tag != "tag:yaml.org,2002:merge":
                if key_node.value in seen:
                    raise ConfigError(f"{self._at(key_node)}: the key {key_node.value!r} stands here for the second time")
                seen.add(key_node.value)

    def _at(self, node: Any) -> str:
        return f"{self.origin}:{node.start_mark.line + 1}"
