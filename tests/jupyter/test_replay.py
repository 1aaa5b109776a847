"""A notebook that was run once with a server runs again without any: real kernels, a real notebook run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.fake_ollama import FakeOllama
from tests.support.kernel import instances, running_kernel, serving

pytest.importorskip("ipykernel", reason="ipykernel is not installed")

NOTEBOOK = [
    "%load_ext gleitzeit_nb",
    "schema = {'type': 'object'}\ndef look(where: str) -> str:\n    return f'nothing {where}'",
    "%%llm -m llama3.2 -o first --option temperature=0\nName three colors.",
    "%%llm -m llama3.2 -o again\nMore about: {first}",
    "%%llm -m llama3.2 --schema schema -o data\nAs JSON.",
    "%%llm -m llama3.2 --embed -o vectors\none\ntwo",
    "%%llm -m llama3.2 --tools look --allow-tools look -o seen\nLook up.",
    "from gleitzeit_nb import ask\nlater = ask('And now?', 'llama3.2')",
    "print([first.text, again.text, data.object, vectors.vectors, seen.text, later.text])",
]
CALL = {"function": {"name": "look", "arguments": {"where": "up"}}}


def said(body: object) -> list[object]:
    assert isinstance(body, dict)
    message = body["messages"][-1]
    if body.get("format"):
        return ['{"a": ', "1}"]
    if body.get("tools") and message["role"] == "user":
        return [{"tool_calls": [CALL]}]
    return [f"{word} " for word in message["content"].split()]


def run(root: Path, environment: dict[str, str]) -> tuple[str, str, list[str]]:
    """(what the last cell printed, what the first answer's line says, the errors)."""
    with running_kernel(root, environment) as kernel:
        runs = [kernel.run(source) for source in NOTEBOOK]
        failed = [run.error["evalue"] for run in runs if run.reply["status"] != "ok"]
        return runs[-1].stream("stdout"), runs[2].value, failed


@pytest.mark.slow
def test_a_notebook_is_replayed_without_a_server(project_root: Path, tmp_path: Path) -> None:
    file = str(tmp_path / "answers.jsonl")
    with serving(FakeOllama("a", tokens=said)) as server:  # type: ignore[arg-type]
        printed, line, failed = run(project_root, {**instances(server), "GLEITZEIT_RECORD": file})
        assert (failed, "no retries" in line) == ([], True)
        asked = len(server.asked)
    assert "nothing up" in printed
    again, line, failed = run(project_root, {"GLEITZEIT_REPLAY": file, "OLLAMA_HOST": "127.0.0.1:9"})
    assert (again, failed) == (printed, [])
    assert line.startswith("replayed, no instance asked (first answered by a) · llama3.2")
    assert asked == 7


def test_a_question_that_was_not_recorded_fails_its_cell_and_names_it(project_root: Path, tmp_path: Path) -> None:
    file = tmp_path / "answers.jsonl"
    file.touch()
    with running_kernel(project_root, {"GLEITZEIT_REPLAY": str(file)}) as kernel:
        kernel.run("%load_ext gleitzeit_nb")
        failed = kernel.run("%%llm -m llama3.2\nWhat is a pool?")
    assert failed.error["ename"] == "ReplayMissError"
    assert "%%llm: the recording" in failed.error["evalue"]
    assert "has no answer to 'What is a pool?' from llama3.2" in failed.error["evalue"]
    assert len(failed.error["traceback"]) <= 6
