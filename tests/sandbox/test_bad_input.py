"""What cannot be run: one right answer each, that says what to do, and the pool goes on with the worker that it had."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
import pytest_asyncio

from gleitzeit_nb.core.execution import DOCKER_MODE
from gleitzeit_nb.errors import ConfigError, ImageMissingError, ModeDisabledError, SandboxUnavailableError, TransferError
from gleitzeit_nb.sandbox import Sandbox
from gleitzeit_nb.sandbox.daemon import DockerDaemon

pytestmark = pytest.mark.docker

Case = tuple[Any, Mapping[str, Any], type[Exception], str]

REFUSED: Mapping[str, Case] = {
    "an unknown mode": ("1", {"mode": "docker-sandbx"}, ConfigError, r"no mode 'docker-sandbx'\. Did you mean 'docker-sandbox'\?"),
    "an empty mode": ("1", {"mode": ""}, ConfigError, r"no mode ''\. Modes: docker-sandbox, "),
    "a mode that is no text": ("1", {"mode": 7}, TypeError, "mode must be a text or None, not int"),
    "a mode that is off": ("1", {"mode": "local"}, ModeDisabledError, r"without any isolation.*enabled: true"),
    "an image name in capitals": ("1", {"image": "Python:3.12"}, ConfigError, "write it in lower case"),
    "an image name with a space": ("1", {"image": "py thon"}, ConfigError, "'py thon' is no image name"),
    "an image name that breaks a line": ("1", {"image": "python\n--privileged"}, ConfigError, "is no image name"),
    "an image that is not there": ("1", {"image": "no/such:image"}, ImageMissingError, "docker pull no/such:image"),
    "an image that is no text": ("1", {"image": b"python"}, TypeError, "image must be a text or None, not bytes"),
    "a host that is no name": ("1", {"allow": ["exa mple.org"]}, ConfigError, "exa mple"),
    "a host that is an address of a page": ("1", {"allow": ["https://example.org/x"]}, ConfigError, "should be a host"),
    "a volume outside the roots": ("1", {"volumes": ["/usr/share:/data"]}, ConfigError, r"beneath none of the folders.*\n.*volume_roots"),
    "the root as a volume": ("1", {"volumes": ["/:/data"]}, ConfigError, "beneath none of the folders"),
    "the daemon's socket as a volume": ("1", {"volumes": ["/var/run/docker.sock:/d.sock"]}, ConfigError, "beneath none of the folders"),
    "a volume without a place": ("1", {"volumes": ["/srv"]}, ConfigError, "host:guest:rw"),
    "a volume over the system": ("1", {"volumes": ["/srv:/usr/lib"]}, ConfigError, "/usr belongs to the system inside"),
    "too little memory": ("1", {"memory_limit": "1m"}, ConfigError, "memory_limit should be at least 16m, .*not '1m'"),
    "too few processes": ("1", {"pids_limit": 1}, ConfigError, "pids_limit should be at least 2"),
    "too few files": ("1", {"max_open_files": 3}, ConfigError, "max_open_files should be at least 24"),
    "no time": ("1", {"timeout": 0}, ConfigError, "timeout should be a number of seconds"),
    "time that never ends": ("1", {"timeout": float("inf")}, ConfigError, "timeout should be a number of seconds"),
    "50 MB of code": ("x = 1\n" * 9_000_000, {}, TransferError, "54000000 characters, and at most 8388608 bytes.*inputs"),
    "code of bytes": (b"1", {}, TypeError, "code must be a text, not bytes: decode bytes first"),
    "a function as code": (print, {}, TypeError, "code must be a text, not builtin_function_or_method"),
    "no code at all": (None, {}, TypeError, "code must be a text, not NoneType"),
    "one name of an output": ("x = 1", {"outputs": "total"}, TypeError, r"outputs must be a list of names: \['total'\]"),
    "an output that is no name": ("x = 1", {"outputs": ["x.y"]}, TransferError, "'x.y' is no variable name"),
    "inputs that are no mapping": ("1", {"inputs": [1]}, TypeError, "inputs must be a mapping, not list"),
    "an input under a keyword": ("1", {"inputs": {"class": 1}}, TransferError, "'class' is no variable name"),
    "an input that is no data": ("1", {"inputs": {"x": object()}}, TransferError, "'x' cannot be passed into the sandbox as data"),
    "a file name of two lines": ("1", {"filename": "a\nb"}, ConfigError, "filename must be one line"),
    "an unknown keyword": ("1", {"privileged": True}, TypeError, "unknown keywords for a run: privileged"),
}

RUN: Mapping[str, tuple[str, str, str, str]] = {
    "no code": ("", "ok", "", ""),
    "only a comment": ("# nothing", "ok", "", ""),
    "code with a NUL byte": ("print('ran')\n\0print('rest')", "error", "", "null bytes"),
    "half a character": ("print('\ud800')", "error", "", "UnicodeEncodeError"),
    "no Python": ("SELECT 1 FROM x", "error", "", "SyntaxError"),
    "a shell command": ("!ls", "error", "", "it takes plain Python"),
    "output that is no text": ("import os; os.write(1, b'caf\\xe9');", "ok", "caf\ufffd", ""),
    "a forged end": ("import os\nfor fd in range(3, 64):\n  try: os.write(fd, b'X\\0\\0\\0\\2{}')\n  except OSError: pass", "ok", "", ""),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandbox(docker_image: str) -> AsyncIterator[Sandbox]:
    settings = {"default_mode": DOCKER_MODE, "volume_roots": ["/srv"], "container_pool": {"min_warm": 0}}
    async with Sandbox(settings) as made:
        yield made


async def container(sandbox: Sandbox) -> str | None:
    result = await sandbox.execute("print(6 * 7)")
    assert (result.status, result.stdout) == ("ok", "42\n")
    return result.container


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("code", "options", "kind", "says"), REFUSED.values(), ids=REFUSED)
async def test_it_is_refused_with_one_clear_answer(
    sandbox: Sandbox, code: Any, options: Mapping[str, Any], kind: type[Exception], says: str
) -> None:
    before = await container(sandbox)
    with pytest.raises(kind, match=says) as caught:
        await sandbox.execute(code, **options)
    assert type(caught.value) is kind
    assert len(str(caught.value).splitlines()) <= 6
    assert await container(sandbox) == before


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("code", "status", "stdout", "traceback"), RUN.values(), ids=RUN)
async def test_it_runs_and_ends_as_code_does(sandbox: Sandbox, code: str, status: str, stdout: str, traceback: str) -> None:
    before = await container(sandbox)
    result = await sandbox.execute(code)
    assert (result.status, result.stdout) == (status, stdout), result.detail
    assert traceback in result.traceback
    assert await container(sandbox) == before


@pytest.mark.parametrize(
    "address", ["tcp://no-such-host.invalid:2375", "nonsense://x", "tcp://", "tcp://a:b", "tcp://[::1", "http://x y:1"]
)
async def test_a_daemons_address_that_leads_nowhere_is_told_as_such(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("DOCKER_HOST", address)
    daemon = DockerDaemon()
    try:
        with pytest.raises(SandboxUnavailableError, match=r"address of the Docker daemon leads nowhere \(.*\)\. Correct DOCKER_HOST"):
            await daemon.facts()
    finally:
        daemon.close()
