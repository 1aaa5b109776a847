"""`%llm receipts`: a table of what became of the last requests, harmless and a value."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from gleitzeit_nb.errors import UsageError
from gleitzeit_nb.jupyter.llm.receipts_command import SHOWN, ReceiptTable
from tests.support.completing import offered
from tests.support.receipts import ANSWERED, LOST
from tests.support.shell import Shell


@pytest.fixture(autouse=True)
def _kept(shell: Shell) -> None:
    shell.engine.pool.kept = (LOST, *[ANSWERED] * 30)


def test_the_last_ones_are_the_cells_value(shell: Shell) -> None:
    found = shell.run("found = %llm receipts")
    assert found.error is None
    value = shell.ip.user_ns["found"]
    assert isinstance(value, ReceiptTable)
    assert (len(value), value[0]) == (SHOWN, LOST)
    assert len(value._repr_mimebundle_()["text/html"].split("<tr>")) == SHOWN + 2
    assert repr(value).splitlines()[0].split()[0] == "Time"


def test_their_number_can_be_said_and_failures_alone_be_shown(shell: Shell) -> None:
    shell.run("found = %llm receipts 3")
    assert len(shell.ip.user_ns["found"]) == 3
    shell.run("found = %llm receipts --failed")
    assert tuple(shell.ip.user_ns["found"]) == (LOST,)


def test_as_json_all_is_told(shell: Shell) -> None:
    cell = shell.run("%llm receipts 1 --json")
    (entry,) = json.loads(cell.stdout)
    assert entry == json.loads(json.dumps(LOST.to_dict()))


def test_names_of_a_hostile_instance_stay_text(shell: Shell) -> None:
    shell.engine.pool.kept = (replace(ANSWERED, instance="<img src=x onerror=alert(1)>", model="\x1b[2J\u202e"),)
    shell.run("found = %llm receipts")
    bundle = shell.ip.user_ns["found"]._repr_mimebundle_()
    assert "<img" not in bundle["text/html"]
    assert not {"\x1b", "\u202e"} & set(bundle["text/html"] + bundle["text/plain"])


def test_without_any_it_says_so(shell: Shell) -> None:
    shell.engine.pool.kept = ()
    shell.run("found = %llm receipts")
    assert shell.ip.user_ns["found"]._repr_mimebundle_() == {"text/plain": "No request has ended yet."}
    assert shell.run("%llm receipts --failed").stdout == "No request has failed.\n"


@pytest.mark.parametrize(
    ("line", "words"), [("0", "greater than 0"), ("x", "greater than 0"), ("--fialed", "--failed"), ("1 2", "more than")]
)
def test_a_line_that_makes_no_sense_is_refused(shell: Shell, line: str, words: str) -> None:
    error = shell.run(f"%llm receipts {line}").error
    assert isinstance(error, UsageError)
    assert words in str(error)


def test_its_options_are_completed(shell: Shell) -> None:
    assert {"--failed", "--json"} <= set(offered(shell, "%llm receipts --"))
    assert "receipts" in offered(shell, "%llm ")


def test_help_is_printed(shell: Shell) -> None:
    assert "--failed" in shell.run("%llm receipts --help").stdout
