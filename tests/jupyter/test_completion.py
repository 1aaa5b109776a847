"""What Tab offers in a real shell, and which characters it replaces."""

from __future__ import annotations

import threading
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gleitzeit_nb.core.threads import Thread
from gleitzeit_nb.jupyter import extension
from tests.support.completing import completed, offered
from tests.support.shell import Shell
from tests.support.snapshots import EMPTY, HOSTILE, MOCK_UP, hostile, instance, session

NOTEBOOK = """
import os
from dataclasses import dataclass
my_data = [1, 2]
long_text = "abc"
_private = 1
def weather(city): return city
@dataclass
class City: name: str
"""


@pytest.fixture
def notebook(shell: Shell) -> Shell:
    shell.run(NOTEBOOK)
    shell.front.threads["main-talk"] = Thread("main-talk")
    return shell


@pytest.mark.parametrize(
    ("line", "fits", "does_not"),
    [
        ("%%llm --", ["--model", "--deadline", "--raw", "--no-cache", "--tags"], ["--memory", "-m"]),
        ("%%llm -", ["-m", "--model"], ["gpu-1"]),
        ("%%llm ", ["--model"], ["models", "-m"]),
        ("%%llm -m x --m", ["--max-latency"], ["--model"]),
        ("%%llm --instance ", ["gpu-1", "backup"], ["mixtral", "--model"]),
        ("%%llm --prefer=g", ["gpu-1", "gpu-2"], ["local"]),
        ("%%llm -t ", ["gpu", "vision"], ["48 GB"]),
        ("%%llm -t gpu,", ["vision"], ["gpu"]),
        ("%%llm --strategy ", ["latency_based", "auto"], ["--model"]),
        ("%%llm --think ", ["low", "off", "--model"], ["gpu"]),
        ("%%llm --think l", ["low"], ["off"]),
        ("%%llm --think --mod", ["--model"], ["low"]),
        ("%%llm --option num_p", ["num_predict="], ["num_ctx="]),
        ("%%llm --format ", ["json", "City"], ["my_data"]),
        ("%%llm --schema ", ["City"], ["my_data", "weather"]),
        ("%%llm --tools ", ["weather"], ["my_data", "City"]),
        ("%%llm --image ", ["my_data"], ["weather"]),
        ("%%llm --system ", [], ["my_data", "--model"]),
        ("%%llm --system 'say {my", ["my_data"], ["long_text"]),
        ("%%llm -o ", ["my_data", "long_text"], ["os", "weather", "_private", "In"]),
        ("%%llm -m mixtral # --", [], ["--model"]),
        ("%%llm --latency", ["--max-latency"], ["--model"]),
        ("%%sandbox --mode ", ["docker-sandbox"], ["local"]),
        ("%%sandbox --in my_data,", ["long_text"], ["my_data"]),
        ("%%sandbox --", ["--timeout", "--session"], ["--model"]),
        ("%llm ", ["models", "explain"], ["--model"]),
        ("%llm m", ["models"], ["ps"]),
        ("llm m", ["models"], ["ps"]),
        ("%llm cache ", ["clear"], ["models"]),
        ("%llm receipts --", ["--failed", "--json"], ["--model"]),
        ("%llm jobs ", ["show", "cancel", "clear"], ["models"]),
        ("%llm jobs cancel --", ["--all"], ["--model"]),
        ("%%llm --b", ["--bg"], ["--model"]),
        ("%llm explain --strategy r", ["round_robin"], []),
        ("%llm unload ", ["mixtral", "--tags"], ["gpu-1"]),
        ("%llm unload mixtral ", ["--tags"], ["mixtral"]),
        ("%llm warm mixtral --instance ", ["gpu-1"], ["mixtral"]),
        ("found = %llm p", ["ps", "pull"], ["models"]),
        ("if True:\n    %llm p", ["ps", "pull"], ["models"]),
        ("%gleitzeit d", ["dashboard", "doctor", "drain"], ["status"]),
        ("%gleitzeit drain ", ["gpu-1", "backup"], ["gpu-2", "status"]),
        ("%gleitzeit resume ", ["gpu-2"], ["gpu-1"]),
        ("%gleitzeit drain --", ["--help"], ["gpu-1"]),
        ("%gleitzeit selfcheck docker-sandbox ", ["docker-datascience"], ["status"]),
        ("%gleitzeit sandbox w", ["warm"], ["reset"]),
        ("%%llm --run-mode ", ["docker-sandbox"], ["--model"]),
        ("%%llm --run-with '--ti", ["--timeout"], ["--tags"]),
        ('%%llm --run-with="--fresh --mode ', ["docker-sandbox"], ["mixtral"]),
        ("%%llm --thread ", ["main-talk", "--model"], ["mixtral"]),
        ("%llm history ", ["main-talk", "--json"], ["mixtral"]),
        ("%llm export main-talk READ", ["README.md"], ["main-talk"]),
        ("%config GleitzeitNB.model = '", ["mixtral"], ["True"]),
        ("%config GleitzeitNB.tags = ['gpu', '", ["vision"], ["mixtral"]),
        ("%config GleitzeitNB.strategy = ", ["'auto'", "'round_robin'"], ["auto"]),
        ("%config GleitzeitNB.stream = F", ["False"], ["True"]),
        ("%config GleitzeitNB.timeout = ", [], ["my_data"]),
        ("%config GleitzeitNB.str", ["GleitzeitNB.stream", "GleitzeitNB.strategy"], ["--model"]),
        ("%%time\n%%llm -m mix", ["mixtral"], ["llava"]),
    ],
)
def test_tab_offers_what_fits_and_nothing_else(notebook: Shell, line: str, fits: list[str], does_not: list[str]) -> None:
    matches = offered(notebook, line)
    assert set(fits) <= set(matches)
    assert not set(does_not) & set(matches)
    if not fits:
        assert matches == []


def test_every_option_of_every_magic_is_offered(shell: Shell) -> None:
    """Also those that other modules add: nothing is listed for Tab alone."""
    from gleitzeit_nb.jupyter.llm_magic import llm_parser
    from gleitzeit_nb.jupyter.sandbox_magic import sandbox_parser

    for parser in (llm_parser(), sandbox_parser()):
        matches = offered(shell, f"{parser.prog} ")
        assert all(set(action.option_strings) & set(matches) for action in parser._actions)


def test_loaded_models_come_first_then_those_that_most_instances_have(shell: Shell) -> None:
    north = instance("north", warm=(), models=("rare:1b", "common", "common:70b"))
    south = instance("south", models=("common", "hot"), warm=(replace(MOCK_UP.instances[0].warm[0], name="hot:latest"),))
    shell.engine.show(replace(EMPTY, instances=(north, south)))
    assert offered(shell, "%%llm -m ") == ["hot", "common", "common:70b", "rare:1b"]
    assert offered(shell, "%%llm -m common:") == ["common:70b"]
    assert offered(shell, "%llm unload ")[0] == "hot"


@pytest.mark.parametrize(
    ("cell", "offer", "after"),
    [
        ("%%llm --mo", "--model", "%%llm --model"),
        ("%%llm --model=mi", "mixtral", "%%llm --model=mixtral"),
        ("%%llm -mmi", "mixtral", "%%llm -mmixtral"),
        ('%%llm -m "mi', "mixtral", '%%llm -m "mixtral'),
        ('%%llm --model="mi', "mixtral", '%%llm --model="mixtral'),
        ("%%llm -t gpu,vi", "vision", "%%llm -t gpu,vision"),
        ("%%llm --tags='gpu vi", "vision", "%%llm --tags='gpu vision"),
        ("%%llm -m 70b", "llama3.2:70b", "%%llm -m llama3.2:70b"),
        ("%%llm -m LLA", "llava", "%%llm -m llava"),
        ("%%llm\nsay {my_d", "my_data", "%%llm\nsay {my_data"),
        ("%%llm\n{{no}} {my_data} {long", "long_text", "%%llm\n{{no}} {my_data} {long_text"),
        ("%%llm --run-with '--fresh --tim", "--timeout", "%%llm --run-with '--fresh --timeout"),
        ("x = 1\n%llm mo", "models", "x = 1\n%llm models"),
    ],
)
def test_what_is_offered_replaces_just_what_was_typed(notebook: Shell, cell: str, offer: str, after: str) -> None:
    assert completed(notebook, cell)[offer] == after


def test_inside_a_line_the_rest_stays(shell: Shell) -> None:
    cell = "%%llm -m mi --raw\nhello"
    assert completed(shell, cell, at=len("%%llm -m mi")) == {"mixtral": "%%llm -m mixtral --raw\nhello"}


@pytest.mark.parametrize("text", ["import o", "my_d", "hello world", "what is {my_data} wor", "{{my_d", "C:/Users ", "%gleitzeit d", "os."])
def test_a_prompt_is_text_for_which_nothing_is_offered(notebook: Shell, text: str) -> None:
    assert offered(notebook, f"%%llm\n{text}") == []
    assert offered(notebook, f"%%llm --raw\nSay {text}") == []


def test_an_expression_in_a_prompt_is_completed_as_python(notebook: Shell) -> None:
    after = completed(notebook, "%%llm\nSay {long_text.upp").values()  # IPython replaces more or less of it, by its version
    assert list(after) == ["%%llm\nSay {long_text.upper"]
    assert "%%llm\nfirst line\nand {os.path" in completed(notebook, "%%llm\nfirst line\nand {os.pat").values()
    assert offered(notebook, "%%llm --raw\nSay {long_text.upp") == []
    assert offered(notebook, "%%llm\nSay {long_text:>1") == []


def test_a_letter_by_its_name_belongs_into_a_prompt_too(shell: Shell) -> None:
    assert offered(shell, "%%llm\nwith \\alpha") == ["α"]


def test_code_of_a_cell_says_what_goes_in_and_comes_out(notebook: Shell) -> None:
    cell = "%%sandbox --in X\ntotal = sum(my_data)\nfor each in my_data:\n    last = each\n"
    assert offered(notebook, cell.replace("X", ""), at=len("%%sandbox --in "))[0] == "my_data"
    out = cell.replace("--in X", "--out ")
    assert offered(notebook, out, at=len("%%sandbox --out "))[:3] == ["last", "each", "total"]
    broken = "%%sandbox --out \nvalue = 3\nprint(value"
    assert offered(notebook, broken, at=len("%%sandbox --out "))[0] == "value"


def test_sessions_images_hosts_and_aliases_that_are_known_are_offered(shell: Shell) -> None:
    from gleitzeit_nb.config import load

    python = {"execution_modes": {"mine": {"image": "registry.test/mine:1", "allow": ["example.org"], "network": "restricted"}}}
    shell.engine.config = load(ollama_config={"aliases": {"fast": "llama3.2"}}, python_config={"modes": python["execution_modes"]})
    shell.engine.show(replace(EMPTY, sessions=(session("old", used_at=1.0), session("work", used_at=2.0))))
    assert offered(shell, "%%sandbox --session ") == ["work", "old"]
    assert offered(shell, "%gleitzeit sandbox reset ")[:2] == ["work", "old"]
    assert "registry.test/mine:1" in offered(shell, "%%sandbox --image ")
    assert offered(shell, "%%sandbox --allow ") == ["example.org"]
    assert offered(shell, "%%llm -m fa") == ["fast"]


def test_files_are_offered_as_the_notebook_sees_them(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    for name in ("a.csv", ".hidden", "my notes.txt", "{odd}.txt", "data/b.csv"):
        (tmp_path / name).write_text("1")
    assert offered(shell, "%%sandbox --file ") == ["a.csv", "data/", '"my notes.txt"', '"{{odd}}.txt"']
    assert completed(shell, '%%sandbox --file "my') == {"my notes.txt": '%%sandbox --file "my notes.txt'}
    assert completed(shell, "%%sandbox --file data/") == {"data/b.csv": "%%sandbox --file data/b.csv"}
    assert offered(shell, "%%sandbox --file .h") == [".hidden"]
    assert offered(shell, "%%sandbox --artifacts ") == ["data/"]
    assert offered(shell, "%%sandbox --file a.csv:") == []
    assert offered(shell, "%%sandbox --file nowhere/") == []


def test_names_that_servers_gave_are_offered_only_when_they_are_plain(shell: Shell) -> None:
    shell.engine.show(hostile())
    assert HOSTILE not in offered(shell, "%%llm -m ")
    assert all(each.isprintable() for cell in ("%%llm -m ", "%%llm --instance ", "%%llm -t ") for each in offered(shell, cell))


def test_both_interfaces_of_ipython_offer_the_same(notebook: Shell) -> None:
    for line in ("%%llm -m ", "%%llm --mo", "%gleitzeit d", "%%sandbox --in "):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PendingDeprecationWarning)
            fragment, matches = notebook.ip.complete("", line, len(line))
        assert list(matches) == offered(notebook, line)
        assert line.endswith(fragment)


def test_tab_waits_for_no_busy_engine_and_gives_what_it_knew(shell: Shell) -> None:
    known = offered(shell, "%%llm -m ")

    free = threading.Event()

    async def block() -> None:
        free.wait(30)  # the loop itself is busy

    busy = shell.runtime.submit(block())
    assert offered(shell, "%%llm -m ") == known
    assert not busy.done()
    free.set()
    busy.result(30)


def test_a_failure_while_looking_is_logged_and_raises_nothing(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> None:
        raise RuntimeError("no snapshot")

    monkeypatch.setattr(shell.engine, "snapshot", broken)
    assert "mixtral" not in offered(shell, "%%llm -m ")
    assert "nothing is offered" in caplog.text
    assert "Traceback" not in capsys.readouterr().err


def test_variables_are_offered_without_running_their_code(shell: Shell) -> None:
    class Broken:
        @property
        def __class__(self) -> Any:  # type: ignore[override]
            raise RuntimeError("no class")

    shell.ip.user_ns["broken"] = Broken()
    for cell in ("%%sandbox --in ", "%%llm --tools ", "%%llm --schema ", "%%llm\n{"):
        assert ("broken" in offered(shell, cell)) == (cell not in ("%%llm --tools ", "%%llm --schema "))


def test_elsewhere_ipython_completes_as_before(notebook: Shell) -> None:
    assert "my_data" in offered(notebook, "print(my_d")
    assert "%%llm" in offered(notebook, "%%ll")
    extension.unload(notebook.ip)
    assert offered(notebook, "%%llm -m mixt") == []


def test_a_variable_called_like_a_magic_is_pythons(notebook: Shell) -> None:
    notebook.ip.user_ns["llm"] = 3
    assert "models" not in offered(notebook, "llm m")
