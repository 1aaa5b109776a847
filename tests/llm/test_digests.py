"""Digests compared across instances: told once, and shown where people look."""

from __future__ import annotations

import logging

import pytest

from gleitzeit_nb.events import DigestsDiffer
from gleitzeit_nb.jupyter.listings import models_text
from tests.llm.conftest import pool_of
from tests.support.fake_ollama import FakeOllama

L = "llama3.2:latest"


async def test_the_same_tag_of_another_model_is_told_once_and_marked(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "gleitzeit_nb.pool")
    async with FakeOllama("a", [L, "phi:3b"]) as a, FakeOllama("b", [L, "phi:3b"]) as b:
        b.shelf.digests[L] = "f" * 64
        async with pool_of(a, b) as pool:
            await pool._parts.health.look(pool._parts.members)  # type: ignore[union-attr]
            (event,) = [each for each in pool.events.log if isinstance(each, DigestsDiffer)]
            assert event.model == L
            assert {places for _, places in event.holders} == {("a",), ("b",)}
            assert "llama3.2 is not the same model everywhere" in caplog.text
            (conflict,) = pool.digest_conflicts()
            assert conflict.model == L
            shown = models_text(await pool.models())
            rows = [line for line in shown.splitlines() if "≠" in line]
            assert len(rows) == 3
            assert rows[-1].startswith("≠ llama3.2 is not the same model everywhere")
            assert not any("phi:3b" in row for row in rows)
            b.shelf.digests.clear()
            _ = [progress async for progress in pool.pull("llama3.2", instance="b")]
            assert pool.digest_conflicts() == ()
            assert "≠" not in models_text(await pool.models())
