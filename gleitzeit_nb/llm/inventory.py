"""What an instance says it has (`/api/tags`) and has loaded (`/api/ps`). Its answers are untrusted: odd entries are passed over."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gleitzeit_nb.core.faults import Cause
from gleitzeit_nb.core.models import LoadedModel, canonical
from gleitzeit_nb.core.wire_numbers import count
from gleitzeit_nb.llm.faults import InstanceFault, shortened

MOST_MODELS = 2000
NAME_CHARS = 200
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?(Z|[+-]\d\d:\d\d)\Z")


@dataclass(frozen=True)
class ModelRow:
    """A model on an instance's disk."""

    instance: str
    name: str
    size_bytes: int | None
    digest: str
    parameters: str  # "8.0B"
    quantization: str  # "Q4_K_M"
    warm: bool  # loaded when last looked at


@dataclass(frozen=True)
class LoadedRow:
    """A model in an instance's memory. `expires_at`: RFC 3339 text, as the instance wrote it."""

    instance: str
    name: str
    size_bytes: int | None
    gpu_share: float | None
    context_length: int | None
    expires_at: str


@dataclass(frozen=True)
class ModelListing:
    """Over all instances. `unreachable`: (instance, why it could not be asked)."""

    rows: tuple[ModelRow, ...]
    unreachable: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class LoadedListing:
    """As ModelListing, of `/api/ps`."""

    rows: tuple[LoadedRow, ...]
    unreachable: tuple[tuple[str, str], ...] = ()


def model_rows(instance: str, answer: Mapping[str, Any], warm: Mapping[str, LoadedModel]) -> tuple[ModelRow, ...]:
    return tuple(
        ModelRow(
            instance=instance,
            name=name,
            size_bytes=count(entry.get("size")),
            digest=_digest(entry),
            parameters=_word(_details(entry).get("parameter_size")),
            quantization=_word(_details(entry).get("quantization_level")),
            warm=canonical(name) in warm,
        )
        for name, entry in _entries(answer)
    )


def loaded_rows(instance: str, answer: Mapping[str, Any]) -> tuple[LoadedRow, ...]:
    return tuple(
        LoadedRow(
            instance=instance,
            name=name,
            size_bytes=count(entry.get("size")),
            gpu_share=_gpu_share(entry),
            context_length=count(entry.get("context_length")),
            expires_at=_word(entry.get("expires_at")),
        )
        for name, entry in _entries(answer)
    )


def names_of(answer: Mapping[str, Any]) -> tuple[str, ...]:
    """The names in `/api/tags`."""
    return tuple(name for name, _ in _entries(answer))


def digests_of(answer: Mapping[str, Any]) -> dict[str, str]:
    """The digests in `/api/tags` by canonical name, of those that have one."""
    digests = {canonical(name): _digest(entry) for name, entry in _entries(answer)}
    return {name: digest for name, digest in digests.items() if digest}


def sizes_of(answer: Mapping[str, Any]) -> dict[str, int]:
    """The sizes (bytes) in `/api/tags` by canonical name, of those that have one."""
    sizes = {canonical(name): count(entry.get("size")) for name, entry in _entries(answer)}
    return {name: size for name, size in sizes.items() if size}


def loaded_of(answer: Mapping[str, Any], now: float) -> dict[str, LoadedModel]:
    """`/api/ps` by canonical name."""
    return {canonical(name): _loaded(name, entry, now) for name, entry in _entries(answer)}


def _loaded(name: str, entry: Mapping[str, Any], now: float) -> LoadedModel:
    context, size = count(entry.get("context_length")), count(entry.get("size")) or count(entry.get("size_vram"))
    return LoadedModel(
        name,
        _gpu_share(entry),
        context,
        seen_at=now,
        digest=_digest(entry),
        size_bytes=size or None,
        vram_bytes=(count(entry.get("size_vram")) or 0) if size else None,  # zero values are left out on the wire
        expires_at=_moment(entry.get("expires_at")),
    )


def _entries(answer: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    models = answer.get("models")
    if models is None and "models" in answer:
        return []  # an empty Go slice may be written as null
    if not isinstance(models, list):
        raise InstanceFault(Cause.BAD_BODY, "no list of models in it")
    named = ((entry.get("name") or entry.get("model"), entry) for entry in models[:MOST_MODELS] if isinstance(entry, Mapping))
    return [(shortened(name, NAME_CHARS), entry) for name, entry in named if isinstance(name, str) and name.strip()]


def _gpu_share(entry: Mapping[str, Any]) -> float | None:
    size, vram = count(entry.get("size")), count(entry.get("size_vram"))
    if not size:
        return None
    return min(1.0, (vram or 0) / size)  # zero values are left out on the wire


def _moment(value: object) -> float | None:
    """RFC 3339 with up to nine digits of a second, as Go writes it; a model that is kept for ever expires centuries from now."""
    found = _MOMENT.match(value) if isinstance(value, str) else None
    if found is None:
        return None
    try:
        return datetime.fromisoformat(f"{found[1]}{found[2].replace('Z', '+00:00')}").timestamp()
    except (ValueError, OverflowError):
        return None


def _details(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    details = entry.get("details")
    return details if isinstance(details, Mapping) else {}


def _digest(entry: Mapping[str, Any]) -> str:
    """Bare hex: `/api/tags` writes it so, other listings of Ollama name the algorithm before it."""
    return _word(entry.get("digest")).removeprefix("sha256:").lower()


def _word(value: object) -> str:
    return shortened(value, NAME_CHARS) if isinstance(value, str) else ""
