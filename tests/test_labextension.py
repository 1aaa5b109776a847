"""The TypeScript's own tests, and that its model is the kernel's: the same fields, checked one by one."""

from __future__ import annotations

import copy
import importlib.util
import json
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from gleitzeit_nb.snapshot import SCHEMA_VERSION, json_schema
from tests.support.snapshots import hostile, mode

FOLDER = Path(__file__).resolve().parent.parent / "labextension"
NODE_SCRIPT = """
import * as model from './lib/kernel/model.js';
let text = '';
for await (const piece of process.stdin) text += piece;
const outcome = message => { try { return model.readMessage(message); } catch (error) { return String(error.message); } };
const views = { WarmModel: model.warmModel, InstanceView: model.instanceView, ModeView: model.modeView, CountView: model.countView,
                SecurityCount: model.securityCount, SecurityNote: model.securityNote, SecurityView: model.securityView,
                SessionView: model.sessionView, FailoverView: model.failoverView, RunView: model.runView, Snapshot: model.snapshot,
                ContainerView: model.containerView, ProgressView: model.progressView, ShareView: model.shareView };
const fields = Object.fromEntries(Object.entries(views).map(([name, view]) => [name, Object.keys(view.fields)]));
console.log(JSON.stringify({ version: model.SCHEMA_VERSION, fields, outcomes: JSON.parse(text).map(outcome) }));
"""


def example() -> dict[str, Any]:
    """A message as the browser gets it: one entry of each kind, with every string hostile that may be."""
    snapshot = replace(hostile(), instances=hostile().instances[:1], modes=(mode(),), failovers=hostile().failovers[:1])
    return json.loads(json.dumps(snapshot.to_dict()))


@pytest.fixture(scope="module")
def builder() -> ModuleType:
    """labextension/build.py, which is a script beside the package and not in it."""
    spec = importlib.util.spec_from_file_location("labextension_build", FOLDER / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not (FOLDER / "lib" / "kernel" / "model.js").exists():
        pytest.skip("the JupyterLab extension is not built: make labextension")
    return module


@pytest.fixture(scope="module")
def read(builder: ModuleType) -> Callable[..., dict[str, Any]]:
    """Gives messages to the panel's reader and returns what it said."""
    node = builder.find_node()[0] / "node"

    def run(*messages: object) -> dict[str, Any]:
        command = [str(node), "--input-type=module", "-e", NODE_SCRIPT]
        done = subprocess.run(command, input=json.dumps(messages), cwd=FOLDER, check=True, capture_output=True, text=True, timeout=60)
        return json.loads(done.stdout)

    return run


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path of every field, down to single values."""
    if path:
        yield path
    if isinstance(value, dict):
        for name, item in value.items():
            yield from leaves(item, (*path, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from leaves(item, (*path, index))


def replaced(value: dict[str, Any], path: tuple[str | int, ...], new: object) -> dict[str, Any]:
    changed: Any = copy.deepcopy(value)
    place = changed
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = new
    return changed


def test_the_panel_reads_the_snapshot_that_the_kernel_writes(read: Callable[..., dict[str, Any]]) -> None:
    message = {"type": "snapshot", "snapshot": example()}
    assert read(message)["outcomes"] == [message]


def test_the_panel_and_the_kernel_name_the_same_fields(read: Callable[..., dict[str, Any]]) -> None:
    schema = json_schema()
    kernel = {name: list(view["properties"]) for name, view in schema["$defs"].items()} | {"Snapshot": list(schema["properties"])}
    answer = read()
    assert answer["fields"] == kernel
    assert answer["version"] == SCHEMA_VERSION


def test_every_field_of_a_wrong_type_is_refused_by_its_name(read: Callable[..., dict[str, Any]]) -> None:
    paths = [path for path in leaves(example()) if path != ("schema_version",)]
    outcomes = read(*({"type": "snapshot", "snapshot": replaced(example(), path, {"not": "this"})} for path in paths))["outcomes"]
    accepted = [path for path, outcome in zip(paths, outcomes, strict=True) if not (isinstance(outcome, str) and str(path[0]) in outcome)]
    assert accepted == []


def test_another_version_is_refused_with_both(read: Callable[..., dict[str, Any]]) -> None:
    newer = {"type": "snapshot", "snapshot": {"schema_version": SCHEMA_VERSION + 1}}
    [outcome] = read(newer)["outcomes"]
    assert outcome == f"snapshot is not of version {SCHEMA_VERSION} but {SCHEMA_VERSION + 1}"


def test_other_messages_and_unknown_fields_are_passed_over(read: Callable[..., dict[str, Any]]) -> None:
    outcomes = read({"type": "newer", "of": "drain"}, {"type": "snapshot", "snapshot": {**example(), "newer": 1}})["outcomes"]
    assert outcomes == [None, {"type": "snapshot", "snapshot": example()}]


@pytest.mark.parametrize("outcome", ["started", "done", "error"])
def test_an_answer_of_the_kernel_is_read(read: Callable[..., dict[str, Any]], outcome: str) -> None:
    said = {"of": "drain", "request": "click-1", "text": "This kernel has no instance 'x'.", "report": ""}
    assert read({"type": outcome, **said})["outcomes"] == [{"type": "answer", "answer": {"outcome": outcome, **said}}]


def test_a_welcome_is_read(read: Callable[..., dict[str, Any]]) -> None:
    said = {"version": "1.0", "answers_while_busy": False, "commands": ["drain"]}
    told, older = read({"type": "welcome", **said, "cell_s": 2.5}, {"type": "welcome", **said})["outcomes"]
    assert (told["welcome"], older["welcome"]) == ({**said, "cell_s": 2.5}, {**said, "cell_s": None})


def test_the_parts_without_a_browser_pass_their_own_tests(builder: ModuleType) -> None:
    folder, command = builder.find_node()
    done = subprocess.run(
        [*command, "test"], cwd=FOLDER, env=builder.environment(folder), check=False, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_string_becomes_markup() -> None:
    ways = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|:\s*any\b|as any\b")
    found = [f"{file.name}: {match.group()}" for file in (FOLDER / "src").rglob("*.ts*") for match in ways.finditer(file.read_text())]
    assert found == []


def test_the_lock_file_names_no_host_to_fetch_from() -> None:
    lock = json.loads((FOLDER / "package-lock.json").read_text())
    assert [name for name, package in lock["packages"].items() if "resolved" in package] == []
