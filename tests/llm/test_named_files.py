"""A dictionary may name files beneath one folder, or none: what lies elsewhere is not read, however it is spelled."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gleitzeit_nb.llm.images import png_of
from gleitzeit_nb.llm.mapping import Wish
from gleitzeit_nb.llm.named_files import read_beneath, with_files
from gleitzeit_nb.llm.params import request_of
from gleitzeit_nb.llm.providers import OllamaPoolProvider
from tests.llm.conftest import pool_of
from tests.support.fake_ollama import FakeOllama

PNG = png_of(np.zeros((2, 3), np.uint8))
CODED = base64.b64encode(PNG).decode()
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A folder with files in it, beside others that are none of its business."""
    base = tmp_path / "base"
    (base / "inner").mkdir(parents=True)
    for place in (base / "a.png", base / "inner" / "b.png", tmp_path / "secret.png"):
        place.write_bytes(PNG)
    (base / "shape.json").write_text(json.dumps(SCHEMA))
    (tmp_path / "base-too").mkdir()
    (tmp_path / "base-too" / "c.png").write_bytes(PNG)
    (base / "link.png").symlink_to("inner/b.png")
    (base / "out.png").symlink_to(tmp_path / "secret.png")
    (base / "away").symlink_to(tmp_path)
    (base / "round.png").symlink_to("round.png")
    return base


ALLOWED: dict[str, Callable[[Path], Any]] = {
    "a name": lambda base: "a.png",
    "a name further in": lambda base: "inner/b.png",
    "back and forth": lambda base: "inner/../a.png",
    "a path": lambda base: Path("a.png"),
    "the whole path": lambda base: str(base / "inner" / "b.png"),
    "a link within": lambda base: "link.png",
}
REFUSED: dict[str, Callable[[Path], Any]] = {
    "above": lambda base: "../secret.png",
    "the whole path": lambda base: str(base.parent / "secret.png"),
    "a path": lambda base: base.parent / "secret.png",
    "a folder with the same beginning": lambda base: "../base-too/c.png",
    "a link out": lambda base: "out.png",
    "a folder that is a link out": lambda base: "away/secret.png",
    "nothing": lambda base: "none.png",
    "the folder itself": lambda base: ".",
    "a circle": lambda base: "round.png",
    "home": lambda base: "~/x.png",
    "a device": lambda base: "/dev/zero",
    "zero": lambda base: "a.png\0",
}


@pytest.mark.parametrize("named", ALLOWED.values(), ids=ALLOWED)
def test_what_lies_beneath_the_folder_is_read(base: Path, named: Callable[[Path], Any]) -> None:
    request = request_of("r", "chat", {"prompt": "x", "images": [named(base)]}, files_from=base)
    assert request.messages[-1]["images"] == [CODED]


@pytest.mark.parametrize("named", REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("key", ["images", "schema"])
def test_what_does_not_is_refused_by_name(base: Path, key: str, named: Callable[[Path], Any]) -> None:
    with pytest.raises(ValueError, match="the file '") as caught:
        request_of("r", "chat", {"prompt": "x", key: named(base)}, files_from=base)
    assert "\0" not in str(caught.value)


@pytest.mark.parametrize("key", ["images", "schema"])
@pytest.mark.parametrize("named", ["a.png", "/etc/passwd"])
def test_without_a_folder_no_file_is_read(base: Path, monkeypatch: pytest.MonkeyPatch, key: str, named: str) -> None:
    monkeypatch.chdir(base)
    with pytest.raises(ValueError, match=f"names the file '{named}', and this call reads none: give the folder of its files as files_from"):
        request_of("r", "chat", {"prompt": "x", key: named})


def test_contents_need_no_folder() -> None:
    request = request_of("r", "chat", {"prompt": "x", "images": [CODED, PNG, np.zeros((2, 3), np.uint8)], "schema": SCHEMA})
    assert request.messages[-1]["images"] == [CODED] * 3
    assert request.format == SCHEMA


def test_a_schema_is_read_from_the_folder(base: Path) -> None:
    assert request_of("r", "chat", {"prompt": "x", "schema": "shape.json"}, files_from=str(base)).format == SCHEMA


def test_a_dialogue_of_a_dictionary_names_no_files_either(base: Path) -> None:
    message = {"role": "user", "content": "x", "images": [base.parent / "secret.png"]}
    with pytest.raises(ValueError, match="does not lie beneath"):
        with_files({"messages": [message]}, base)
    assert request_of("r", "chat", {"messages": [{**message, "images": [CODED]}]}).messages[0]["images"] == [CODED]


@pytest.fixture
def pipe(base: Path) -> Iterator[str]:
    os.mkfifo(base / "pipe.png")
    return "pipe.png"


def test_a_pipe_is_not_waited_for_and_a_large_file_not_swallowed(base: Path, pipe: str) -> None:
    with pytest.raises(ValueError, match="it is no file"):
        read_beneath(base, pipe, 1 << 20)
    (base / "large").write_bytes(b"x" * ((1 << 20) + 1))
    with pytest.raises(ValueError, match="larger than 1 MiB"):
        read_beneath(base, "large", 1 << 20)


def test_a_link_that_comes_after_the_look_is_not_followed(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between resolving and opening, somebody exchanges a file for a link."""
    real = Path.resolve

    def resolve(path: Path, strict: bool = False) -> Path:
        found = real(path, strict=strict)
        if path.name == "a.png":
            (base / "a.png").unlink()
            (base / "a.png").symlink_to(base.parent / "secret.png")
        return found

    monkeypatch.setattr(Path, "resolve", resolve)
    with pytest.raises(ValueError, match="cannot be read"):
        read_beneath(base, "a.png", 1 << 20)


async def test_a_provider_and_a_map_take_the_folder_from_their_caller_alone(base: Path) -> None:
    ask = {"prompt": "x", "images": ["a.png"]}
    async with FakeOllama("a") as server, pool_of(server) as pool:
        provider = OllamaPoolProvider(pool=pool)
        with pytest.raises(ValueError, match="files_from"):
            await provider.execute("llm/chat", ask)
        with pytest.raises(TypeError, match="unknown keyword 'files_from'"):
            await provider.execute("llm/chat", {"prompt": "x", "files_from": str(base)})
        await provider.execute("llm/chat", ask, files_from=base)
        items = [item async for item in pool.map([ask], files_from=base)]
        refused = [item async for item in pool.map([ask])]
        own = [item async for item in pool.map(["x"], images=str(base / "a.png"))]
    assert [len(each.body["messages"][-1]["images"]) for each in server.asked] == [1, 1, 1]
    assert [item.ok for item in (*items, *refused, *own)] == [True, False, True]


def test_a_dialogue_that_is_no_dictionary_is_the_callers_own(base: Path) -> None:
    dialogue = [{"role": "user", "content": "x", "images": [base / "a.png"]}]
    assert Wish.of("llm/chat", "", {}).request("r", dialogue).messages[0]["images"] == [CODED]
