"""The models that one server offers: names, files, headers, digests."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gleitzeit_nb.embedded import weights
from gleitzeit_nb.embedded.gguf import Header, read_header
from gleitzeit_nb.errors import WeightsError

_REGISTRY = "registry.ollama.ai/library/"


@dataclass(frozen=True)
class ServedModel:
    """A model whose file is there. `digest` is the sha256 of the file (64 hex digits)."""

    name: str
    path: Path
    digest: str
    size_bytes: int
    modified_s: float
    header: Header

    @property
    def full_name(self) -> str:
        """With registry and library, as Ollama writes it in some errors."""
        return _REGISTRY + self.name

    @property
    def capabilities(self) -> list[str]:
        if self.header.is_embedding:
            return ["embedding"]
        template = self.header.chat_template
        found = ["completion"]
        if "tools" in template:
            found.append("tools")
        if "think" in template:
            found.append("thinking")
        return found

    def context_length(self, asked: int | None, default: int) -> int:
        """The context to load: 4 at least, the training context at most."""
        wanted = max(4, default if asked is None else asked)
        limit = self.header.context_length
        return min(wanted, limit) if limit else wanted

    def details(self) -> dict[str, Any]:
        family = self.header.architecture
        return {
            "parent_model": "",
            "format": "gguf",
            "family": family,
            "families": [family],
            "parameter_size": self.header.parameter_size,
            "quantization_level": self.header.quantization,
            "context_length": self.header.context_length,
            "embedding_length": self.header.embedding_length,
        }


class ModelStore:
    """Looks the files up anew at each question, so that weights that are fetched, mended or removed meanwhile are noticed.

    `models` are known names, or paths to GGUF files, which are served under the file's name without its ending.
    """

    def __init__(self, models: Iterable[str], cache_dir: Path) -> None:
        self._cache_dir = cache_dir
        self._files: dict[str, Path | None] = {}
        self._read: dict[tuple[Path, int, int, int], ServedModel] = {}
        self._checked: set[tuple[Path, int, int, int]] = set()
        for model in models:
            self._add(model)

    def __repr__(self) -> str:
        return f"<ModelStore {', '.join(self._files)}>"

    def _add(self, model: str) -> None:
        path = Path(model)
        if path.suffix.lower() == ".gguf":
            if not path.is_file():
                raise WeightsError(f"There is no file {model}. Name an existing GGUF file, or one of: {', '.join(weights.KNOWN_MODELS)}")
            name = weights.normalise(path.stem.replace(" ", "-"))
            self._files[name] = path.resolve()
            self.find(name)  # its header and digest are read now: hashing a large file must not stop requests later
        else:
            self._files[weights.known_model(model).name] = None

    @property
    def names(self) -> list[str]:
        return list(self._files)

    def find(self, name: str) -> ServedModel | None:
        """None: not offered, or its weights are not on this machine. WeightsError: they are there and damaged."""
        full = weights.normalise(name)
        if full not in self._files:
            return None
        path = self._files[full]
        if path is None:
            known = weights.known_model(full)
            try:
                path = weights.locate(full, self._cache_dir)
            except WeightsError:
                if weights.cached_path(known, self._cache_dir).exists():
                    raise
                return None
        return self._served(full, path)

    def available(self) -> list[ServedModel]:
        """The offered models that can be loaded, newest file first."""
        found = []
        for name in self._files:
            try:
                model = self.find(name)
            except WeightsError:  # its next use tells; a list must not fail for one entry
                continue
            if model is not None:
                found.append(model)
        return sorted(found, key=lambda model: -model.modified_s)

    def verify(self, model: ServedModel) -> None:
        """Compare the sha256 of a pinned file, once per state of the file. Blocking."""
        key = _identity(model.path)
        if key not in self._checked:
            weights.verify(model.path, model.digest)
            self._checked.add(key)

    def remove(self, model: ServedModel) -> None:
        """Offer it no more. What was fetched for it is deleted; files of the user's own, or of an installed package, stay."""
        if self._files.pop(model.name) is None:
            weights.cached_path(weights.known_model(model.name), self._cache_dir).unlink(missing_ok=True)

    def forget(self, model: ServedModel) -> None:
        """Its load failed: check the file anew next time."""
        self._checked = {key for key in self._checked if key[0] != model.path}

    def _served(self, name: str, path: Path) -> ServedModel:
        try:
            key = _identity(path)
        except OSError as error:
            raise WeightsError(f"The weights of {name} cannot be read: {error}") from error
        if key not in self._read:
            pinned = weights.KNOWN_MODELS.get(name)
            header = read_header(path)
            digest = pinned.sha256 if pinned else weights.file_sha256(path)
            self._read[key] = ServedModel(name, path, digest, key[2], os.stat(path).st_mtime, header)
        return self._read[key]


def _identity(path: Path) -> tuple[Path, int, int, int]:
    status = path.stat()
    return path, status.st_mtime_ns, status.st_size, status.st_ino
