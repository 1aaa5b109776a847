"""The header of a GGUF file: keys and values, tensor shapes. Format: ggml's docs/gguf.md, versions 2 and 3, little-endian."""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gleitzeit_nb.errors import WeightsError

# Values of llama.cpp's enum llama_ftype as `general.file_type` holds them, by the names that Ollama shows.
_FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M", 13: "Q3_K_L",
    14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 32: "BF16",
}  # fmt: skip
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_SHORT_ARRAY = 5  # longer ones are left out unless asked for, as in Ollama's /api/show
_MAX_ENTRIES = 1 << 20
_MAX_DEPTH = 4


@dataclass(frozen=True)
class Header:
    """What a GGUF file says of itself. `values` holds the keys as they are in the file; it is untrusted data."""

    values: Mapping[str, Any]
    parameters: int
    tensors: int

    @property
    def architecture(self) -> str:
        return str(self.values.get("general.architecture", "unknown"))

    def of_architecture(self, key: str) -> Any:
        return self.values.get(f"{self.architecture}.{key}")

    @property
    def context_length(self) -> int:
        """The training context; 0 when the file does not say."""
        value = self.of_architecture("context_length")
        return value if isinstance(value, int) else 0

    @property
    def embedding_length(self) -> int:
        value = self.of_architecture("embedding_length")
        return value if isinstance(value, int) else 0

    @property
    def is_embedding(self) -> bool:
        return self.of_architecture("pooling_type") is not None

    @property
    def chat_template(self) -> str:
        return str(self.values.get("tokenizer.chat_template", ""))

    @property
    def quantization(self) -> str:
        kind = self.values.get("general.file_type")
        return _FILE_TYPES.get(kind, "unknown") if isinstance(kind, int) else "unknown"

    @property
    def parameter_size(self) -> str:
        """As Ollama writes it: "134.52M", "8.0B"."""
        for unit, size in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("K", 1e3)):
            if self.parameters >= size:
                return f"{self.parameters / size:.{2 if unit in 'MK' else 1}f}{unit}"
        return str(self.parameters)


class _Reader:
    def __init__(self, data: mmap.mmap, arrays: bool) -> None:
        self._data = data
        self._at = 0
        self._arrays = arrays

    def number(self, code: str) -> Any:
        size = struct.calcsize("<" + code)
        (value,) = struct.unpack_from("<" + code, self._data, self._at)
        self._at += size
        return value

    def text(self) -> str:
        return self._raw_text().decode("utf-8", "replace")

    def _raw_text(self) -> bytes:
        length = self.number("Q")
        if length > len(self._data) - self._at:
            raise ValueError("a text runs past the end of the file")
        value = self._data[self._at : self._at + length]
        self._at += length
        return value

    def value(self, kind: int, depth: int = 0) -> Any:
        if kind == _STRING:
            return self.text()
        if kind == _ARRAY:
            return self._array(depth)
        if kind not in _SCALARS:
            raise ValueError(f"unknown value type {kind}")
        return self.number(_SCALARS[kind])

    def _array(self, depth: int) -> Any:
        kind, count = self.number("I"), self.number("Q")
        if depth >= _MAX_DEPTH or count > len(self._data):
            raise ValueError("an array is longer than the file")
        if self._arrays or count <= _SHORT_ARRAY:
            return [self.value(kind, depth + 1) for _ in range(count)]
        if kind == _STRING:
            for _ in range(count):
                self._skip_text()
        elif kind in _SCALARS:
            self._at += count * struct.calcsize("<" + _SCALARS[kind])
        else:
            for _ in range(count):
                self.value(kind, depth + 1)
        return []

    def _skip_text(self) -> None:
        (length,) = struct.unpack_from("<Q", self._data, self._at)
        self._at += 8 + length


def read_header(path: Path, *, arrays: bool = False) -> Header:
    """Read the header; arrays of more than 5 elements come as `[]` unless `arrays`. WeightsError when it is not GGUF."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _parse(data, arrays)
    except (ValueError, struct.error, OSError, RecursionError, MemoryError) as error:
        raise WeightsError(
            f"{path} is not a readable GGUF file ({error}).\nGet it again with: gleitzeit-nb embedded fetch (or name another file)."
        ) from error


def _parse(data: mmap.mmap, arrays: bool) -> Header:
    if data[:4] != b"GGUF":
        raise ValueError("it does not begin with the letters GGUF")
    reader = _Reader(data, arrays)
    reader.number("I")
    version, tensors, entries = reader.number("I"), reader.number("Q"), reader.number("Q")
    if version not in (2, 3) or tensors > _MAX_ENTRIES or entries > _MAX_ENTRIES:
        raise ValueError(f"version {version} with {tensors} tensors and {entries} entries")
    values: dict[str, Any] = {}
    for _ in range(entries):
        key = reader.text()
        values[key] = reader.value(reader.number("I"))
    parameters = 0
    for _ in range(tensors):
        reader.text()
        dimensions = [reader.number("Q") for _ in range(min(reader.number("I"), 8))]
        reader.number("I")
        reader.number("Q")
        parameters += math.prod(dimensions)
    return Header(values=values, parameters=parameters, tensors=tensors)
