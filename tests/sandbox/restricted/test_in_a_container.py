"""Inside a container with the Docker daemon's defaults, where namespaces are refused: what a notebook image meets."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.sandbox.restricted.held_guest import Environment

PROGRAM = """
import asyncio, glob, json, sys
sys.path[:0] = ["/given/source", *glob.glob("/given/venv/lib/python3*/site-packages")]
from gleitzeit_nb.core.execution import ExecutionRequest, Limits, ModeSettings
from gleitzeit_nb.errors import SandboxUnavailableError
from gleitzeit_nb.sandbox.connection import GuestConnection
from gleitzeit_nb.sandbox.restricted import RestrictedLauncher

async def attempt(allow_weaker):
    launcher = RestrictedLauncher()
    mode = ModeSettings("restricted", "restricted", "Restricted", allow_weaker=allow_weaker)
    try:
        line = await launcher.check(mode)
    except SandboxUnavailableError as error:
        return ["refused", str(error)]
    guest = GuestConnection(await launcher.launch(mode, Limits(), None))
    await guest.open()
    result = await guest.run(ExecutionRequest("run", "import os; print(os.getuid() != 0)"), Limits(timeout_s=30))
    await guest.close()
    return [line, result.stdout]

print(json.dumps([asyncio.run(attempt(allow_weaker)) for allow_weaker in (False, True)]))
"""


@pytest.mark.docker
@pytest.mark.parametrize("user", ["0", "1000"])
def test_it_refuses_and_with_consent_holds_what_it_can(user: str, docker_daemon: Any, docker_image: str, environment: Environment) -> None:
    said = docker_daemon.containers.run(
        docker_image,
        ["python3", "-I", "-c", PROGRAM],
        user=user,
        network_mode="none",
        volumes={str(environment.root): {"bind": "/given", "mode": "ro"}},
        entrypoint="",
        remove=True,
    )
    unasked, consented = json.loads(said)
    assert unasked[0] == "refused"
    assert "namespaces: " in unasked[1]
    assert "restricted.allow_weaker: true" in unasked[1]
    if consented[0] == "refused":
        assert "landlock must have ABI" in consented[1]
        pytest.skip(f"the kernel or the daemon's profile has no landlock: {consented[1]}")
    assert "no namespaces" in consented[0]
    assert consented[1] == "True\n"
