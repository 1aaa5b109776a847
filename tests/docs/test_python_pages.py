"""The pages on the Python API: every example runs, in order, against fake servers, and prints what its comments say."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from gleitzeit_nb.runtime import Runtime, current_runtime
from tests.guide.rewrites import HOST
from tests.support import examples
from tests.support.fake_ollama import FakeOllama

ANSWERS = {
    "Name three colors.": "red, green, blue",
    "In French: sun": "soleil",
    "In French: sea": "mer",
    "def double(x):\n    ": "return x * 2",
    "The largest city on the Rhine, as JSON.": '{"name": "Cologne", "people": 1100000}',
    "Which language is this?\n\nGuten Tag": "German",
    "Which language is this?\n\nCarpe diem": "Latin",
    "Why is the sky blue?": "Rayleigh scattering",
}
# `# -> text` says what is printed; ` / ` stands between lines that one statement prints.
EXPECTED = re.compile(r"#\s*->\s?(.*)$", re.MULTILINE)


def answers(body: Mapping[str, Any]) -> Iterable[str]:
    """What a model that knows only these questions says, word by word."""
    messages = body.get("messages")
    asked = messages[-1]["content"] if messages else body.get("prompt", "")
    return re.findall(r"\S+\s*", ANSWERS.get(asked, "I do not know"))


@pytest.fixture
def servers() -> Iterator[dict[str, FakeOllama]]:
    """By the addresses in the pages; on a loop of their own, since `ask` blocks the caller's."""
    elsewhere = Runtime()
    made = {"http://localhost:11434": FakeOllama("desk", tokens=answers), "http://gpu-1:11434": FakeOllama("gpu-1", tokens=answers)}
    for server in made.values():
        elsewhere.call(server.listen())
    yield made
    if (runtime := current_runtime()) is not None:
        runtime.close()
    for server in made.values():
        elsewhere.call(server.die())
    elsewhere.close()


def on(source: str, servers: Mapping[str, FakeOllama]) -> str:
    """`source` with the fakes' addresses; one that is not known must not be asked."""
    assert set(HOST.findall(source)) <= set(servers)
    for host, server in servers.items():
        source = source.replace(host, server.url)
    return source


@pytest.mark.parametrize("page", ["python.md", "migration.md"])
async def test_every_example_prints_what_it_says(
    page: str, servers: dict[str, FakeOllama], project_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pandas" if page == "python.md" else "ollama")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "a.txt").write_text("Guten Tag")
    (tmp_path / "documents" / "b.txt").write_text("Carpe diem")
    blocks = examples.blocks((project_root / "docs" / page).read_text(), "python")
    assert len(blocks) >= 5
    names: dict[str, Any] = {"__name__": "__main__"}
    for line, code in blocks:
        printed = StringIO()
        with redirect_stdout(printed):
            await examples.run(on(code, servers), names, name=f"docs/{page}:{line}")
        said = [text.strip() for text in printed.getvalue().splitlines()]
        expected = [text.strip() for row in EXPECTED.findall(code) for text in row.split(" / ")]
        assert said == expected, f"docs/{page}, line {line}"


def test_every_keyword_of_a_request_is_described(project_root: Path) -> None:
    from gleitzeit_nb.core.requests import RequestOptions

    page = (project_root / "docs" / "python.md").read_text()
    assert [name for name in RequestOptions.__annotations__ if f"`{name}`" not in page] == []
