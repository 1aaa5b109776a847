"""`%%llm` in a real kernel on the real small model: the same that the scripted servers showed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.kernel import Kernel, running_kernel
from tests.support.model import MODEL, model_cache

pytest.importorskip("ipykernel", reason="ipykernel is not installed")
pytestmark = pytest.mark.model

__all__ = ["model_cache"]

LAUNCH = """
from gleitzeit_nb import EmbeddedInstance, configure
north = EmbeddedInstance.launch("north")
configure(ollama_config={"instances": [north.instance]})
schema = {"type": "object", "properties": {"color": {"type": "string", "enum": ["red", "blue"]}}, "required": ["color"]}
endless = {"type": "array", "items": {"type": "integer"}, "minItems": 1000}
"""


@pytest.fixture(scope="module")
def kernel(model_cache: Path, project_root: Path) -> Iterator[Kernel]:
    with running_kernel(project_root, {"GLEITZEIT_CACHE_DIR": str(model_cache)}) as running:
        assert running.run(LAUNCH).reply["status"] == "ok"
        yield running
        running.run("north.stop()")


def test_a_real_answer_streams_and_says_who_gave_it(kernel: Kernel) -> None:
    run = kernel.run("%%llm -o answer --option temperature=0 --option num_predict=48\nName three colors.")
    assert run.reply["status"] == "ok"
    assert len(run.markdown) >= 2
    assert run.value.startswith(f"north · {MODEL} · ")
    assert run.value.endswith("no retries · ended by length") or run.value.endswith("no retries")
    said = kernel.run("print(answer.text)").stream("stdout").split()
    assert said[:3] == run.markdown[-1].split()[:3]


def test_a_schema_is_obeyed(kernel: Kernel) -> None:
    kernel.run("%%llm -o picked --format schema --option temperature=0 --option num_predict=32\nPick a color.")
    assert kernel.run("print(picked.json()['color'] in ('red', 'blue'))").stream("stdout") == "True\n"


def test_an_interrupt_stops_the_model(kernel: Kernel) -> None:
    run = kernel.run("%%llm --format endless --option num_predict=4000\nCount.", interrupt_when=lambda run: len(run.markdown) >= 3)
    assert run.error["ename"] == "KeyboardInterrupt"
    assert run.markdown[-1].endswith("*(interrupted)*")
    assert kernel.run("%%llm --option num_predict=8\nHi").reply["status"] == "ok"


def test_the_listings_name_the_model(kernel: Kernel) -> None:
    assert MODEL in kernel.run("%llm models").stream("stdout")
    assert MODEL in kernel.run("%llm ps").stream("stdout")


def test_a_conversation_is_remembered_by_the_real_model(kernel: Kernel) -> None:
    options = "--thread talk --option temperature=0 --option num_predict=24"
    assert kernel.run(f"%%llm {options}\nMy name is Ada. Say hello.").reply["status"] == "ok"
    second = kernel.run(f"%%llm -o again {options}\nWhat did I say before?")
    assert "thread talk, turn 2" in second.value
    counts = kernel.run("print([turn.tokens for turn in get_ipython()._gleitzeit_nb_loaded.front.threads['talk'].turns])").stream("stdout")
    first_tokens, second_tokens = json.loads(counts)
    assert second_tokens > first_tokens
    assert "Ada" in kernel.run("%llm history talk").value


def test_several_answers_of_the_real_model_differ(kernel: Kernel) -> None:
    run = kernel.run("%%llm -n 3 -o names --option temperature=1.5 --option num_predict=24\nInvent a name for a boat.")
    assert run.reply["status"] == "ok"
    assert run.value.startswith("3 answers · north")
    assert len(set(json.loads(kernel.run("import json\nprint(json.dumps([str(each) for each in names]))").stream("stdout")))) > 1


def test_an_error_is_explained_by_the_real_model(kernel: Kernel) -> None:
    kernel.run("values = {'a': 1}\nvalues['b']")
    run = kernel.run("%llm fix --option num_predict=60")
    assert run.reply["status"] == "ok"
    assert "KeyError: 'b'" in run.of("display_data")[0]["data"]["text/plain"]
    assert run.value.startswith("north · ")


def test_what_outgrows_the_real_models_context_is_told(kernel: Kernel) -> None:
    options = "--thread long --option temperature=0 --option num_predict=4 --option num_ctx=256 --force-ctx"
    for number in range(3):
        run = kernel.run(f"%%llm {options}\n{number} {'word ' * 90}")
        assert run.reply["status"] == "ok"
    assert "were not sent, since the context of" in run.value or "was not sent, since the context of" in run.value
    assert "holds 256 tokens" in run.value


def test_a_real_answer_comes_in_the_background_while_another_cell_is_interrupted(kernel: Kernel) -> None:
    """The interrupt goes to the kernel's whole process group, and the model's server must not be in it."""
    kernel.run("%%llm --bg -o job --option temperature=0 --option num_predict=200\nTell a long story.")
    busy = kernel.run("print('started')\nimport time\ntime.sleep(60)", interrupt_when=lambda run: "started" in run.stream("stdout"))
    assert busy.error["ename"] == "KeyboardInterrupt"
    said = kernel.run("print(job.result(100).tokens, job.state)").stream("stdout").split()
    assert int(said[0]) > 8
    assert said[1] == "done"
    assert "done" in kernel.run("%llm jobs").stream("stdout")
