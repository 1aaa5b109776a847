"""The daemon's long works on images: building from a Dockerfile, and fetching from a registry. What it reports goes on as lines."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import io
import re
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from gleitzeit_nb.core.plain import OutputText, one_line
from gleitzeit_nb.errors import SandboxUnavailableError
from gleitzeit_nb.sandbox.daemon import DockerDaemon
from gleitzeit_nb.sandbox.images import labels

if TYPE_CHECKING:
    from docker import APIClient

BUILD_S = 1800.0
NO_SPACE = "no space left on device"
LINE_CHARS = 160
STEP = re.compile(r"Step \d+/\d+ : (?:RUN|COPY|FROM|ADD) ")  # those that take their time

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """A Dockerfile with its build arguments and labels, and the files of its context: path inside → text, or a file of this machine."""

    dockerfile: str
    arguments: Mapping[str, str]
    marks: Mapping[str, str]
    context: Mapping[str, str | Path] = field(default_factory=dict)


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """A full disk says what to do about it."""
    try:
        yield
    except (SandboxUnavailableError, OSError) as exc:
        if NO_SPACE not in str(exc).lower():
            raise
        raise SandboxUnavailableError(
            f"The disk is full: {one_line(str(exc), 300)}\n"
            "`docker system df` shows what the daemon keeps; `gleitzeit-nb images prune` removes images of ours that no mode uses."
        ) from exc


async def build(name: str, plan: Plan, progress: Progress, daemon: DockerDaemon) -> None:
    """Build `name`, without any network. Raises SandboxUnavailableError. Cancelling leaves the daemon to give up by itself."""
    hear = _on_this_loop(progress)
    with explained(), tempfile.TemporaryFile() as packed:
        await asyncio.to_thread(_pack, plan, packed)
        work = functools.partial(_build, name=name, plan=plan, packed=packed, hear=hear)
        await daemon.call_apart(f"build {name}", work, timeout_s=BUILD_S)


async def pull(name: str, progress: Progress, daemon: DockerDaemon) -> None:
    """Fetch `name` from its registry. Raises SandboxUnavailableError."""
    progress(f"pulling {name}")
    hear = _on_this_loop(progress)
    with explained():
        await daemon.call_apart(f"pull {name}", functools.partial(_pull, name=name, hear=hear), timeout_s=BUILD_S)


def _on_this_loop(progress: Progress) -> Progress:
    """To be called from the daemon's thread."""
    loop = asyncio.get_running_loop()

    def hear(line: str) -> None:
        loop.call_soon_threadsafe(progress, line)

    return hear


def _pack(plan: Plan, packed: IO[bytes]) -> None:
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for path, content in {"Dockerfile": plan.dockerfile, **plan.context}.items():
            info = tarfile.TarInfo(path)  # no owner, no time: the same context is the same bytes
            if isinstance(content, Path):
                info.size = content.stat().st_size
                with content.open("rb") as file:
                    tar.addfile(info, file)
            else:
                data = content.encode("utf-8")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    packed.seek(0)


def _build(api: APIClient, *, name: str, plan: Plan, packed: IO[bytes], hear: Progress) -> None:
    events = api.build(
        fileobj=packed,
        custom_context=True,
        tag=name,
        buildargs=dict(plan.arguments),
        labels=dict(plan.marks),
        network_mode="none",
        use_config_proxy=False,
        rm=True,
        forcerm=True,
        decode=True,
    )
    try:
        _follow(events, hear, name)
    finally:
        _remove_stages(api)
    if not api.images(name=name):
        raise SandboxUnavailableError(f"The Docker daemon says that it built {name}, and does not have it.")


def _remove_stages(api: APIClient) -> None:
    """A stage that others only copied from stays behind as an image without a name."""
    from docker.errors import DockerException

    for image in api.images(filters={"dangling": True, "label": labels.STAGE}):
        with contextlib.suppress(DockerException):  # another build is using it
            api.remove_image(image["Id"])


def _pull(api: APIClient, *, name: str, hear: Progress) -> None:
    _follow(api.pull(name, stream=True, decode=True), hear, name)


def _follow(events: Iterable[Mapping[str, Any]], hear: Progress, name: str) -> None:
    """Steps and stages as lines, each once; an error that the daemon reports is raised with the last lines before it.

    The stream is read to its end in any case: what is left unread holds its connection.
    """
    shown, said, failure = "", "", ""
    for event in events:
        failure = failure or one_line(str(event.get("error", "")), 500)
        output = str(event.get("stream", ""))
        said = (said + output)[-2000:]
        line = one_line(output or str(event.get("status", "")), LINE_CHARS)
        wanted = "status" in event or STEP.match(output)
        if wanted and line and line != shown:
            shown = line
            hear(f"  {line}")
    if failure:
        raise SandboxUnavailableError(f"The Docker daemon could not make {name}: {failure}{_quoted(said)}")


def _quoted(said: str) -> str:
    lines = [one_line(line, LINE_CHARS) for line in OutputText().feed(said).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(("Step ", "--->", "Removing "))]
    return "".join(f"\n    {line}" for line in told[-8:])
