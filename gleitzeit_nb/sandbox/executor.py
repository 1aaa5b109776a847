"""`DockerExecutor`: the sandbox's containers behind the face that the guide describes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gleitzeit_nb.config import sandbox_settings
from gleitzeit_nb.core.execution import DOCKER_MODE, ExecutionRequest, ExecutionResult, SandboxSettings
from gleitzeit_nb.events import EventBus
from gleitzeit_nb.protocols import DisplaySink, OutputSink
from gleitzeit_nb.sandbox.request import RunOptions
from gleitzeit_nb.sandbox.sandbox import Sandbox

if TYPE_CHECKING:
    from typing_extensions import Unpack


class DockerExecutor(Sandbox):
    """A sandbox whose every mode is a Docker container, and whose default is `docker-sandbox`.

    Works without `async with` too: it starts at the first call, on that call's loop; then `close` it.
    """

    def __init__(self, config: SandboxSettings | Mapping[str, Any] | None = None, *, events: EventBus | None = None) -> None:
        super().__init__(_containers_only(config), events=events)

    async def execute(
        self,
        code: str | ExecutionRequest,
        mode: str | None = None,
        *,
        on_output: OutputSink | None = None,
        on_display: DisplaySink | None = None,
        on_progress: Callable[[str], None] | None = None,
        **options: Unpack[RunOptions],
    ) -> ExecutionResult:
        await self.start()
        return await super().execute(code, mode, on_output=on_output, on_display=on_display, on_progress=on_progress, **options)

    async def execute_in_container(
        self,
        code: str,
        image: str | None = None,
        memory_limit: str | int = "512m",
        timeout: float = 60,
        volumes: Mapping[str, Any] | Sequence[str] | None = None,
    ) -> ExecutionResult:
        """Run code in a container of `image` (default: the sandbox's own). `timeout` in seconds."""
        return await self.execute(code, DOCKER_MODE, image=image, memory_limit=memory_limit, timeout=timeout, volumes=volumes)

    async def cleanup_idle_containers(self, idle_s: float | None = None) -> int:
        await self.start()
        return await super().cleanup_idle_containers(idle_s)


def _containers_only(config: SandboxSettings | Mapping[str, Any] | None) -> SandboxSettings:
    settings = config if isinstance(config, SandboxSettings) else sandbox_settings(config)
    containers = {mode_id: mode for mode_id, mode in settings.modes.items() if mode.kind == "docker"}
    default = settings.default_mode if settings.default_mode in containers else DOCKER_MODE
    return replace(settings, modes=containers, default_mode=default)
