"""The image that a run's requirements ask for."""

from __future__ import annotations

from pathlib import Path

from gleitzeit_nb.core.execution import ModeSettings
from gleitzeit_nb.core.requirements import Requirements
from gleitzeit_nb.errors import ConfigError
from gleitzeit_nb.sandbox.daemon import DockerDaemon
from gleitzeit_nb.sandbox.images.building import Progress


class LayerShelf:
    """`wheelhouse`: the folder of wheels that images are made from; None is the cache. Talks to the daemon when first asked.

    Two runs that want the same new image at the same time make it twice, under one name.
    """

    def __init__(self, wheelhouse: str | None) -> None:
        self._wheelhouse = None if wheelhouse is None else Path(wheelhouse)
        self._daemon: DockerDaemon | None = None

    def __repr__(self) -> str:
        return f"<LayerShelf {self._wheelhouse or 'cache'}>"

    async def image_for(self, mode: ModeSettings, image: str | None, lines: tuple[str, ...], progress: Progress | None) -> str:
        """On top of `image`, else of the mode's: found, or made from the wheels that are there.

        Raises ImageMissingError with the command that fetches them.
        """
        from gleitzeit_nb.sandbox.images import layers

        if mode.kind != "docker":
            raise ConfigError(f"The mode {mode.id!r} is no container and takes no requirements: choose a docker mode.")
        self._daemon = self._daemon or DockerDaemon()
        base = await layers.base_of(image or mode.image, self._daemon)
        return await layers.find_or_make(base, Requirements(lines), self._wheelhouse, progress or _unheard, self._daemon)

    def close(self) -> None:
        if self._daemon is not None:
            self._daemon.close()


def _unheard(line: str) -> None:
    """Nobody asked to be told."""
