"""Container images: which one the sandbox runs, and what to say when there is none. `images.making` makes them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from gleitzeit_nb.core.execution import DATASCIENCE_IMAGE
from gleitzeit_nb.errors import ImageMissingError
from gleitzeit_nb.sandbox.images import labels

if TYPE_CHECKING:
    from docker import APIClient

    from gleitzeit_nb.sandbox.daemon import DockerDaemon
    from gleitzeit_nb.sandbox.images.making import Ways

REPOSITORY = "gleitzeit/sandbox"
SLIM_PYTHON = "python"  # any python:*-slim that is on the daemon already serves when no image was built


async def default_image(daemon: DockerDaemon | None = None) -> str:
    """The image that runs code when none is named. Raises ImageMissingError, or SandboxUnavailableError without a daemon."""
    async with _daemon(daemon) as own:
        return await own.call("look for the image", resolve)


async def build(
    progress: Callable[[str], None] = print, *, kind: str = "sandbox", ways: Ways | None = None, daemon: DockerDaemon | None = None
) -> str:
    """Make the image of a kind ("sandbox", "datascience"): by default from this machine's Debian or Ubuntu packages (as root).

    Returns its name; does nothing when it is there. `progress` gets a line per stage. Raises SandboxUnavailableError or
    ImageMissingError.
    """
    from gleitzeit_nb.sandbox.images.making import Ways, make

    async with _daemon(daemon) as own:
        return await make(kind, ways or Ways(), progress, own)


@asynccontextmanager
async def _daemon(given: DockerDaemon | None) -> AsyncIterator[DockerDaemon]:
    from gleitzeit_nb.sandbox.daemon import DockerDaemon

    own = given or DockerDaemon()
    try:
        yield own
    finally:
        if given is None:
            own.close()


def resolve(api: APIClient, wanted: str | None = None) -> str:
    """The image to run: `wanted`, else the one that was built here, else a slim Python that is there. Nothing is ever pulled.

    Raises ImageMissingError.
    """
    if wanted is not None:
        from docker.errors import ImageNotFound

        try:
            api.inspect_image(wanted)  # type: ignore[no-untyped-call]
        except ImageNotFound as exc:
            raise missing(wanted) from exc
        return wanted
    built = _tags(api, REPOSITORY)
    if built:
        return f"{REPOSITORY}:latest" if f"{REPOSITORY}:latest" in built else built[0]
    slim = sorted(tag for tag in _tags(api, SLIM_PYTHON) if tag.endswith("-slim") and tag.startswith("python:3"))
    if slim:
        return slim[-1]
    raise missing(None)


def preload_of(api: APIClient, image: str, wanted: tuple[str, ...] | None = None) -> tuple[str, ...]:
    """The modules that a guest should import first: those that the mode wants, else those that the image names."""
    marks = api.inspect_image(image)["Config"].get("Labels") or {}  # type: ignore[no-untyped-call]
    if labels.REPLACED in marks:
        return ()
    return labels.preloaded(marks) if wanted is None else wanted


def missing(wanted: str | None) -> ImageMissingError:
    if wanted is None:
        return ImageMissingError(
            "The Docker daemon has no image for the sandbox, and nothing is pulled unasked. Make one with: gleitzeit-nb images build"
        )
    if wanted == DATASCIENCE_IMAGE:
        return ImageMissingError(
            f"The image {wanted} is not on the Docker daemon, and nothing is pulled unasked. "
            "Make it with: gleitzeit-nb images build datascience"
        )
    return ImageMissingError(
        f"The image {wanted} is not on the Docker daemon, and nothing is pulled unasked. "
        f"Fetch it with `docker pull {wanted}`, or make the sandbox's own with `gleitzeit-nb images build`."
    )


def _tags(api: APIClient, repository: str) -> list[str]:
    """Newest image first."""
    found = sorted(api.images(name=repository), key=lambda image: image["Created"], reverse=True)
    return [tag for image in found for tag in image.get("RepoTags") or () if tag != "<none>:<none>"]
