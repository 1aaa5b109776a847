"""What the instances have and have loaded, asked now."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping
from typing import Any

from gleitzeit_nb.llm.faults import InstanceFault
from gleitzeit_nb.llm.health import PROBE_TIMEOUT_S
from gleitzeit_nb.llm.inventory import LoadedListing, ModelListing, loaded_rows, model_rows
from gleitzeit_nb.llm.membership import Member
from gleitzeit_nb.llm.parts import Parts


async def list_models(parts: Parts) -> ModelListing:
    answers, unreachable = await _ask_all(parts, "/api/tags")
    rows = [model_rows(each.instance.id, answer, each.instance.loaded) for each, answer in answers]
    return ModelListing(tuple(itertools.chain.from_iterable(rows)), unreachable)


async def list_loaded(parts: Parts) -> LoadedListing:
    answers, unreachable = await _ask_all(parts, "/api/ps")
    rows = [loaded_rows(each.instance.id, answer) for each, answer in answers]
    return LoadedListing(tuple(itertools.chain.from_iterable(rows)), unreachable)


async def _ask_all(parts: Parts, path: str) -> tuple[list[tuple[Member, Mapping[str, Any]]], tuple[tuple[str, str], ...]]:
    members = list(parts.members)
    results = await asyncio.gather(*(each.transport.get(path, timeout_s=PROBE_TIMEOUT_S) for each in members), return_exceptions=True)
    unreachable: list[tuple[str, str]] = []
    asked: list[tuple[Member, Mapping[str, Any]]] = []
    for member, result in zip(members, results, strict=True):
        if isinstance(result, InstanceFault):
            unreachable.append((member.instance.id, str(result)))
        elif isinstance(result, BaseException):
            raise result
        else:
            asked.append((member, result))
    return asked, tuple(unreachable)
