"""The command line as people call it: what it prints, where, and what it exits with."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gleitzeit_nb.cli import main
from gleitzeit_nb.cli.run import exit_code
from gleitzeit_nb.cli.terminal import ProgressBar, shower
from gleitzeit_nb.config import load
from gleitzeit_nb.core.execution import ExecutionResult
from gleitzeit_nb.errors import SandboxError
from gleitzeit_nb.sandbox import Sandbox
from tests.support.model import model_cache

Write = Callable[[str], Path]

__all__ = ["model_cache"]


@pytest.fixture
def a_file(tmp_path: Path) -> Write:
    def write(text: str) -> Path:
        path = tmp_path / "gleitzeit.yaml"
        path.write_text(text)
        return path

    return write


def command(project_root: Path, *arguments: str, **more: Any) -> subprocess.Popen[str]:
    """The real thing in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "gleitzeit_nb.cli", *arguments],
        cwd=project_root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )


# -- arguments ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["unknown"],
        ["embedded"],
        ["config"],
        ["embedded", "serve", "--port", "99999"],
        ["embedded", "serve", "--port", "x"],
        ["embedded", "serve", "--parallel", "0"],
        ["ask"],
        ["ask", "hello", "--deadline", "soon"],
        ["run"],
        ["run", "x.py", "--pids", "many"],
        ["config", "check"],
        ["status", "extra"],
    ],
)
def test_arguments_that_make_no_sense_exit_with_2_and_show_the_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: gleitzeit-nb" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["--help"], ["ask", "--help"], ["run", "-h"], ["embedded", "serve", "-h"], ["images", "build", "-h"]]
)
def test_help_is_shown_for_every_command(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 0
    assert "usage: gleitzeit-nb" in capsys.readouterr().out


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    import gleitzeit_nb

    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"gleitzeit-nb {gleitzeit_nb.__version__}\n"


def test_a_token_in_the_arguments_is_refused_without_being_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["embedded", "serve", "--token", "hunter2"]) == 2
    assert "hunter2" not in capsys.readouterr().err


def test_a_token_of_a_variable_that_is_not_set_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["embedded", "serve", "--token", "env:GLEITZEIT_NO_SUCH"]) == 1
    assert "--token" in capsys.readouterr().err


def test_help_loads_no_heavy_package(project_root: Path) -> None:
    code = (
        "import sys\nfrom gleitzeit_nb.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print('heavy:', sorted({'pydantic', 'docker', 'httpx', 'aiohttp', 'yaml', 'starlette', 'IPython'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=project_root, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.endswith("heavy: []\n")


# -- configuration ------------------------------------------------------------------------------------------------------------


def test_config_show_prints_what_could_be_written_into_a_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, a_file: Write
) -> None:
    monkeypatch.setenv("GLEITZEIT_CONFIG", str(a_file("ollama: {instances: [{id: gpu, url: gpu, api_key: env:MY_KEY}]}")))
    monkeypatch.setenv("MY_KEY", "hunter2")
    assert main(["config", "show"]) == 0
    out = capsys.readouterr().out
    assert "(GLEITZEIT_CONFIG)" in out
    assert "hunter2" not in out
    assert yaml.safe_load(out)["ollama"]["instances"][0]["api_key"] == "***"
    assert main(["config", "show", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ollama"]["instances"][0]["url"] == "http://gpu:11434"


def test_config_check_says_that_a_file_is_valid_and_what_it_may_not_say_untrusted(
    capsys: pytest.CaptureFixture[str], a_file: Write
) -> None:
    assert main(["config", "check", str(a_file("ollama: {load_balancing: {strategy: least_loaded}}"))]) == 0
    assert "would be refused" not in capsys.readouterr().out
    assert main(["config", "check", str(a_file("python:\n  modes:\n    local: {enabled: true}"))]) == 0
    out = capsys.readouterr().out
    assert "would be refused" in out
    assert "gleitzeit.yaml:3: mode 'local'" in out


def test_a_mistake_in_a_file_is_told_in_its_line_without_a_traceback(project_root: Path, a_file: Write) -> None:
    path = a_file("ollama:\n  modle: x\n")
    process = command(project_root, "config", "check", str(path))
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert err == f"gleitzeit-nb: {path}:2: unknown key 'modle' in ollama; did you mean 'model'?\n"


@pytest.mark.parametrize("arguments", [["status"], ["doctor"], ["ask", "hello"], ["run", os.devnull], ["config", "show"]])
def test_every_command_tells_a_bad_configuration_as_text(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLEITZEIT_OLLAMA_STRATEGY", "fastest")
    assert main(arguments) == 1
    assert capsys.readouterr().err.startswith("gleitzeit-nb: GLEITZEIT_OLLAMA_STRATEGY: ")


# -- terminal -----------------------------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_progress_bar_redraws_itself_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    bar = ProgressBar("fetching x")
    for done in (0, 50_000_000, 100_000_000, 100_000_000):
        bar(done, 100_000_000)
    first, *_, last = screen.getvalue().split("\r")[1:]
    assert "0%" in first
    assert "100%  100 of 100 MB\n" in last
    assert screen.getvalue().count("\n") == 1


def test_progress_is_one_line_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    bar = ProgressBar("fetching x")
    for done in (0, 50_000_000, 100_000_000):
        bar(done, 100_000_000)
    assert capsys.readouterr().err == "fetching x: 100 MB …\n"


def test_nothing_is_said_of_progress_when_there_was_nothing_to_do(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ProgressBar("fetching x")(100, 100)
    assert capsys.readouterr().err == ""
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    ProgressBar("fetching x")(100, 100)
    assert screen.getvalue() == ""


def test_untrusted_text_cannot_act_on_a_terminal_and_reaches_a_file_unchanged() -> None:
    hostile = "a\x1b]0;title\x07b\x1b[2Jc\u202ed"
    shown = shower(Terminal())
    text = shown.feed(hostile) + shown.flush()
    assert not any(char in text for char in "\x1b\x07\u202e")
    assert shower(io.StringIO()).feed(hostile) == hostile


def test_a_reader_that_goes_away_ends_the_command_quietly(project_root: Path) -> None:
    process = command(project_root, "config", "show")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    with process.stderr as stream:
        err = stream.read()
    assert (process.wait(60), err) == (141, "")


# -- run ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        ("ok", 0, 0),
        ("error", 1, 1),
        ("error", 3, 3),
        ("error", None, 1),
        ("error", -11, 139),
        ("error", 256, 1),
        ("timeout", None, 124),
        ("lost", None, 125),
        ("oom", -9, 137),
        ("killed", -9, 130),
    ],
)
def test_run_exits_with_what_the_code_exited_with(status: Any, code: int | None, expected: int) -> None:
    assert exit_code(ExecutionResult(status, "docker-sandbox", exit_code=code)) == expected


@pytest.fixture(scope="module")
def isolation() -> str:
    """The mode that untrusted code gets here; skips where none can be had."""

    async def settle() -> str:
        async with Sandbox(load(environ={}).sandbox) as sandbox:
            return (await sandbox.resolve_default())[0]

    try:
        return asyncio.run(settle())
    except SandboxError as error:
        pytest.skip(f"no sandbox can be had: {str(error).splitlines()[0]}")


@pytest.mark.parametrize(
    ("code", "arguments", "expected", "out", "err"),
    [
        ("print(6 * 7)", [], 0, "42\n", ""),
        ("import sys; print('to err', file=sys.stderr)", [], 0, "", "to err\n"),
        ("import sys; sys.exit(3)", [], 3, "", ""),
        ("1 / 0", [], 1, "", "ZeroDivisionError: division by zero\n"),
        ("def f(:", [], 1, "", "SyntaxError"),
        ("print('before', flush=True)\nwhile True: pass", ["--timeout", "1"], 124, "before\n", "timeout: "),
        ("x = bytearray(10**9)", ["--memory", "64m"], 137, "", "oom: "),
        ("import os; os.kill(os.getpid(), 11)", [], 139, "", ""),
        ("print('a' * 5000)", ["--max-output", "1k"], 0, None, "more bytes of stdout were dropped"),
        ("open('big', 'wb').write(b'x' * 200_000)", ["--max-file-size", "64k"], 1, "", "File too large"),
    ],
)
def test_run_shows_what_the_code_printed_and_exits_as_it_did(
    isolation: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    code: str,
    arguments: list[str],
    expected: int,
    out: str | None,
    err: str,
) -> None:
    path = tmp_path / "code.py"
    path.write_text(code)
    status = main(["run", str(path), *arguments])
    shown = capfd.readouterr()
    if expected == 137 and status == 1:  # where memory is bounded per process, the code gets a MemoryError instead
        assert "MemoryError" in shown.err
        return
    assert (status, shown.out) == (expected, shown.out if out is None else out)
    assert err in shown.err
    assert "gleitzeit_nb" not in shown.err


def test_run_reads_standard_input_and_prints_json(
    isolation: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("print('hi')"))
    assert main(["run", "-", "--json", "--mode", isolation]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["status"], result["stdout"], result["mode"]) == ("ok", "hi\n", isolation)


def test_run_lets_the_code_reach_what_is_allowed_and_says_what_it_was_refused(
    isolation: str, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "code.py"
    path.write_text("from urllib.request import urlopen\ntry: urlopen('http://b.invalid')\nexcept OSError as exc: print(exc.code)")
    assert main(["run", str(path), "--mode", isolation, "--allow", "a.invalid,c.invalid", "--allow", "d.invalid:81"]) == 0
    shown = capfd.readouterr()
    assert shown.out == "403\n"
    assert "(network: b.invalid:80 refused)" in shown.err


def test_run_takes_files_and_writes_what_the_code_leaves(
    isolation: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data.txt").write_text("abc")
    Path("code.py").write_text("import os\nopen('n.txt', 'w').write(open('in/d.txt').read()[::-1])\nos.symlink('/', 'root')\n[1, 2]")
    arguments = ["run", "code.py", "--mode", isolation, "--file", "data.txt:in/d.txt", "--artifacts", "out"]
    assert main(arguments) == 0
    shown = capsys.readouterr()
    assert Path("out/n.txt").read_text() == "cba"
    assert shown.out == "[1, 2]\n"
    assert shown.err == "n.txt: 3 bytes\n(root was not brought out: it is a link)\n"
    Path("out/n.txt").write_text("mine")
    assert main(arguments) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert main([*arguments, "--overwrite"]) == 0
    assert Path("out/n.txt").read_text() == "cba"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--mode", "local"], "switched off"),
        (["--mode", "docker-sandbx"], "docker-sandbox"),
        (["--memory", "lots"], "512m"),
        (["--memory", "1m"], "at least 16m"),
        (["--timeout", "-1"], "timeout"),
        (["--pids", "0"], "pids_limit"),
        (["--workspace-files", "1"], "workspace_files"),
        (["--gpu", "--mode", "restricted"], "gpu"),
        (["--volume", "/etc:/data", "--mode", "docker-sandbox"], "which no code in a sandbox is shown"),
        (["--volume", "/usr/share:/data", "--mode", "docker-sandbox"], "no folder is named beneath which volumes may lie"),
    ],
)
def test_run_says_why_it_ran_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str) -> None:
    path = tmp_path / "code.py"
    path.write_text("open('/tmp/it-ran', 'w')")
    assert main(["run", str(path), *arguments]) == 1
    assert words in capsys.readouterr().err


@pytest.mark.docker
def test_images_list_says_which_image_each_mode_would_use(
    docker_daemon: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, a_file: Write
) -> None:
    monkeypatch.setenv("GLEITZEIT_CONFIG", str(a_file("python: {modes: {docker-none: {image: 'nobody/has:this'}}}")))
    assert main(["images", "list"]) == 1
    shown = capsys.readouterr().out
    lines = dict(line.split(maxsplit=1) for line in shown.partition("Container modes\n")[2].splitlines())
    assert set(lines) >= {"docker-sandbox", "docker-datascience", "docker-none"}
    assert lines["docker-none"] == "missing: nobody/has:this"
    assert "docker pull nobody/has:this" in shown
    assert main(["images", "list", "--json"]) == 1
    listed = json.loads(capsys.readouterr().out)
    assert {mode["mode"]: bool(mode["problem"]) for mode in listed["modes"]}["docker-none"]


@pytest.mark.docker
def test_an_image_goes_to_a_file_and_back(docker_daemon: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    name, file, fake = "gleitzeit-test/empty:latest", tmp_path / "image.tar", tmp_path / "fake.tar"
    with tarfile.open(fake, "w") as tar:
        tar.addfile(tarfile.TarInfo("file"), io.BytesIO())
    label = "LABEL gleitzeit.image.kind=sandbox"
    docker_daemon.api.import_image(src=str(fake), repository="gleitzeit-test/empty", tag="latest", changes=[label])
    try:
        assert main(["images", "save", str(file), name]) == 0
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        assert f"sha256 {digest}" in capsys.readouterr().out
        docker_daemon.images.remove(name)
        assert main(["images", "load", str(file)]) == 2
        assert "it would take the name gleitzeit-test/empty:latest" in capsys.readouterr().err
        assert main(["images", "load", str(file), "--force", "--sha256", "0" * 64]) == 2
        assert "nothing was loaded" in capsys.readouterr().err
        assert main(["images", "load", str(file), "--force", "--sha256", digest]) == 0
        assert f"Loaded image: {name}" in capsys.readouterr().out
    finally:
        docker_daemon.images.remove(name)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--download"], "belong to --requirements"),
        (["--tag", "x"], "belong to --requirements"),
        (["--requirements", "a", "--pull"], "added to an image that is there"),
        (["--requirements", "a", "--download", "--offline"], "--offline forbids it"),
        (["--requirements", "a @ https://evil"], "no requirement"),
        (["--requirements", "{}/none.txt"], "cannot be read"),
    ],
)
def test_a_build_that_makes_no_sense_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    assert main(["images", "build", *(word.format(tmp_path) for word in arguments)]) == 2
    assert says in capsys.readouterr().err


@pytest.mark.docker
def test_requirements_that_no_wheel_gives_name_what_is_missing(
    docker_daemon: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLEITZEIT_CACHE_DIR", str(tmp_path / "cache"))
    assert main(["images", "build", "--requirements", "nobody-has-this", "--wheelhouse", str(tmp_path)]) == 1
    assert "holds no wheel, and none of pip" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["load", "{}/nothing.tar"], "No such file"),
        (["load", "{}/text"], "no file that `gleitzeit-nb images save`"),
        (["save", "{}/no/folder.tar"], "there is no folder"),
    ],
)
def test_a_file_that_is_no_image_is_refused_before_the_daemon_sees_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    (tmp_path / "text").write_text("text " * 1000)
    assert main(["images", *(word.format(tmp_path) for word in arguments)]) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["images", "list"], ["images", "build"], ["run", os.devnull, "--mode", "docker-sandbox"]])
def test_without_a_docker_daemon_the_message_says_what_to_start(arguments: list[str], project_root: Path, tmp_path: Path) -> None:
    # In a process of its own: Docker's SDK leaves a socket open when nobody listens, which is an error in tests.
    process = command(project_root, *arguments, env={**os.environ, "DOCKER_HOST": f"unix://{tmp_path}/nobody.sock"})
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert "DOCKER_HOST" in err
    assert "Traceback" not in err


def test_an_interrupt_kills_the_run(isolation: str, project_root: Path, tmp_path: Path) -> None:
    path = tmp_path / "code.py"
    path.write_text("print('begun', flush=True)\nwhile True: pass")
    process = command(project_root, "run", str(path))
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in err


def test_a_file_that_is_not_there_is_a_mistake_in_the_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "/nowhere/at/all.py"]) == 2
    assert "cannot be read" in capsys.readouterr().err


# -- embedded -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def serving(project_root: Path, model_cache: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`embedded serve` on a free port; (process, url)."""
    process = command(project_root, "embedded", "serve", "--port", "0", env={**os.environ, "GLEITZEIT_CACHE_DIR": str(model_cache)})
    assert process.stdout is not None
    line = process.stdout.readline()
    assert "http://127.0.0.1:" in line, process.stderr and process.stderr.read()
    yield process, next(word for word in line.split() if word.startswith("http://"))
    if process.poll() is None:
        process.kill()
    process.communicate(timeout=30)


@pytest.mark.model
def test_serve_announces_its_address_and_ends_in_order_at_an_interrupt(serving: tuple[subprocess.Popen[str], str]) -> None:
    import httpx

    process, url = serving
    assert httpx.get(f"{url}/api/tags").json()["models"][0]["name"] == "smollm2:135m"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert "Traceback" not in out + err
    assert process.returncode in (0, 130)


@pytest.mark.model
def test_a_port_that_is_taken_is_told_as_text(project_root: Path, serving: tuple[subprocess.Popen[str], str]) -> None:
    port = serving[1].rpartition(":")[2]
    second = command(project_root, "embedded", "serve", "--port", port)
    out, err = second.communicate(timeout=60)
    assert second.returncode == 1
    assert "is taken" in err
    assert "Traceback" not in out + err


@pytest.mark.model
def test_fetch_says_where_the_weights_are(capsys: pytest.CaptureFixture[str], model_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLEITZEIT_CACHE_DIR", str(model_cache))
    assert main(["embedded", "fetch"]) == 0
    assert str(model_cache) in capsys.readouterr().out
    assert main(["embedded", "fetch", "-q"]) == 0
    assert capsys.readouterr() == ("", "")


def test_fetching_an_unknown_model_names_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["embedded", "fetch", "--model", "llama9"]) == 1
    assert "smollm2:135m" in capsys.readouterr().err


# -- the whole way ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def pool_of_one(serving: tuple[subprocess.Popen[str], str], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("GLEITZEIT_OLLAMA_INSTANCES", f"one:{serving[1]}")
    return serving[1]


@pytest.mark.model
def test_ask_streams_the_answer_and_says_who_gave_it(pool_of_one: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ask", "Say hello.", "--option", "num_predict=24", "--deadline", "2m"]) == 0
    out, err = capsys.readouterr()
    assert out.strip()
    assert err.startswith("one · smollm2:135m · ")


@pytest.mark.model
def test_ask_reads_standard_input_and_prints_json(
    pool_of_one: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("Say hello."))
    assert main(["ask", "-", "--json", "-m", "smollm2:135m", "--option", "num_predict=24", "--deadline", "2m"]) == 0
    reply = json.loads(capsys.readouterr().out)
    assert reply["usage"]["completion_tokens"] <= 24
    assert reply["instance"] == "one"
    assert reply["text"]


@pytest.mark.model
@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["-m", "llama9"], "llama9"), (["-m", "smollm2:135m", "-t", "gpu"], "gpu"), (["-m", "smollm2:135m", "--instance", "two"], "two")],
)
def test_ask_says_why_nobody_can_answer(pool_of_one: str, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str) -> None:
    assert main(["ask", "hello", *arguments]) == 1
    err = capsys.readouterr().err
    assert words in err
    assert "Traceback" not in err


@pytest.mark.model
def test_status_shows_the_instance_as_text_and_as_json(pool_of_one: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status"]) == 0
    out = capsys.readouterr().out
    assert pool_of_one in out
    assert "Pool: 1 up" in out
    assert "Sandbox" in out
    assert main(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["instances"][0]["id"] == "one"


def test_status_without_any_instance_says_what_to_do(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, a_file: Write
) -> None:
    monkeypatch.setenv("GLEITZEIT_CONFIG", str(a_file("ollama: {instances: []}")))
    assert main(["status"]) == 0
    assert "embedded serve" in capsys.readouterr().out


def test_an_instance_that_is_down_is_a_state_and_no_error(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLEITZEIT_OLLAMA_INSTANCES", "down:http://127.0.0.1:9")
    begin = time.monotonic()
    assert main(["status"]) == 0
    assert "Failed" in capsys.readouterr().out
    assert time.monotonic() - begin < 30


# -- receipts -----------------------------------------------------------------------------------------------------------------


def test_a_file_of_receipts_is_summed_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = {"schema_version": 1, "outcome": "ok", "instance": "gpu", "model": "phi", "timings": {"total_s": 2.0}, "usage": {}}
    path = tmp_path / "receipts.jsonl"
    path.write_text(json.dumps(line) + '\n{"torn":\n\n' + json.dumps(line | {"retries": 1}) + "\n")
    assert main(["receipts", str(path), str(path)]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[1].split()[:6] == ["gpu", "phi", "4", "0", "0", "2"]
    assert "2 lines are no receipts" in err
    assert f"{path}, line 2" in err
    assert main(["receipts", str(path), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["instance"], row["requests"], row["p95_s"]) == ("gpu", 2, 2.0)


def test_a_file_of_receipts_that_is_not_there_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["receipts", str(tmp_path / "none.jsonl")]) == 2
    assert "none.jsonl cannot be read" in capsys.readouterr().err
