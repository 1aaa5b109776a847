"""`%%llm` in a real kernel on the real small model: the same that the scripted servers showed."""

from __future__ import annotations

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
