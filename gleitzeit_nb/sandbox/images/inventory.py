"""Which images of ours the daemon has, what each holds, who uses it, and which of them nobody needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gleitzeit_nb.core.execution import DATASCIENCE_IMAGE, ModeSettings
from gleitzeit_nb.core.plain import one_line
from gleitzeit_nb.errors import ImageMissingError, SandboxUnavailableError
from gleitzeit_nb.sandbox.daemon import DaemonRefusalError, DockerDaemon
from gleitzeit_nb.sandbox.images import labels, recipes, resolve

if TYPE_CHECKING:
    from docker import APIClient

IN_USE = 409  # HTTP's conflict: a container runs it


@dataclass(frozen=True)
class Made:
    """An image of ours. `names` is empty for what was left over; `base` is an image's id, or words on packages."""

    id: str
    names: tuple[str, ...]
    kind: str
    created_s: float
    size_bytes: int
    version: str
    recipe: str
    base: str
    python: str
    preload: tuple[str, ...]
    packages: tuple[str, ...]

    @property
    def name(self) -> str:
        """The one to call it by."""
        return min(self.names, key=lambda name: (not name.endswith(":latest"), name)) if self.names else self.id[:19]


@dataclass(frozen=True)
class Wanted:
    """A mode's image: `id` and the name under which it was found, or why it is not there. `own`: the mode's configuration names it."""

    mode: str
    name: str
    id: str
    problem: str = ""
    own: bool = False


@dataclass(frozen=True)
class Inventory:
    images: tuple[Made, ...]
    modes: tuple[Wanted, ...]

    def users(self, image: Made) -> tuple[str, ...]:
        """The modes that run it, and the images that were made from it."""
        modes = [wanted.mode for wanted in self.modes if wanted.id == image.id]
        return (*modes, *(f"base of {other.name}" for other in self.images if other.base == image.id))

    def age(self, image: Made) -> str:
        """Why this version would make another one in its place; "" when it would not."""
        if image.kind in recipes.KINDS and image.recipe != recipes.recipe(image.kind):
            return f"made by version {image.version or '?'}; this one makes it otherwise"
        known = {other.id for other in self.images}
        if image.base.startswith("sha256:") and image.base not in known and image.kind != recipes.SANDBOX:
            return "its base is gone"
        bases = [other for other in self.images if other.id == image.base]
        if bases and not any(name.endswith(":latest") for base in bases for name in base.names):
            return "its base was made anew since"
        return ""

    def unused(self) -> tuple[Made, ...]:
        """Those that no mode names, neither as they are nor as the base of one that does."""
        needed = {wanted.id for wanted in self.modes}
        while bases := {image.base for image in self.images if image.id in needed} - needed:
            needed |= bases
        return tuple(image for image in self.images if image.id not in needed)


async def take_stock(modes: Iterable[ModeSettings], daemon: DockerDaemon) -> Inventory:
    """Raises SandboxUnavailableError without a daemon."""
    containers = [mode for mode in modes if mode.kind == "docker" and mode.enabled]

    def look(api: APIClient) -> Inventory:
        found = api.images(filters={"label": labels.KIND})
        images = sorted((_made(each) for each in found), key=lambda image: (image.kind, -image.created_s))
        return Inventory(tuple(images), tuple(_wanted(api, mode) for mode in containers))

    return await daemon.call("list its images", look)


async def of_this_daemon(modes: Iterable[ModeSettings]) -> Inventory:
    """`take_stock` of the daemon that the environment names."""
    daemon = DockerDaemon()
    try:
        return await take_stock(modes, daemon)
    finally:
        daemon.close()


async def remove(images: Sequence[Made], daemon: DockerDaemon) -> list[tuple[Made, str]]:
    """(image, why it was kept, or "") for each. One that a container runs is kept."""
    outcomes = []
    for image in sorted(images, key=lambda each: -each.created_s):  # what was made from another goes before it
        try:
            for name in image.names or (image.id,):
                await daemon.call(f"remove {name}", lambda api, name=name: api.remove_image(name))  # type: ignore[misc]
        except DaemonRefusalError as exc:
            outcomes.append((image, "a container uses it" if exc.status == IN_USE else one_line(str(exc))))
        else:
            outcomes.append((image, ""))
    return outcomes


def _made(image: Mapping[str, Any]) -> Made:
    marks = {key: one_line(str(value), 500) for key, value in (image.get("Labels") or {}).items()}
    return Made(
        id=image["Id"],
        names=tuple(sorted(name for name in image.get("RepoTags") or () if name != "<none>:<none>")),
        kind=marks.get(labels.KIND, ""),
        created_s=float(image["Created"]),
        size_bytes=int(image["Size"]),
        version=marks.get(labels.VERSION, ""),
        recipe=marks.get(labels.RECIPE, ""),
        base=marks.get(labels.BASE, ""),
        python=marks.get(labels.PYTHON, ""),
        preload=labels.preloaded(marks),
        packages=tuple(marks.get(labels.PACKAGES, "").split()),
    )


def _wanted(api: APIClient, mode: ModeSettings) -> Wanted:
    own = mode.image not in (None, DATASCIENCE_IMAGE)
    try:
        name = resolve(api, mode.image)
    except ImageMissingError as exc:
        return Wanted(mode.id, mode.image or "", "", str(exc), own)
    except SandboxUnavailableError as exc:
        return Wanted(mode.id, mode.image or "", "", one_line(str(exc)), own)
    return Wanted(mode.id, name, str(api.inspect_image(name)["Id"]), own=own)  # type: ignore[no-untyped-call]
