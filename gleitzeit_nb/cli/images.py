"""`images build` and `images list`: what containers are made from."""

from __future__ import annotations

import argparse
import asyncio
from functools import partial
from typing import TYPE_CHECKING

from gleitzeit_nb.cli.terminal import say

if TYPE_CHECKING:
    from argparse import _SubParsersAction


def add_commands(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    group = commands.add_parser("images", help="the container images of the sandbox").add_subparsers(required=True, metavar="VERB")
    build = group.add_parser("build", help="make the base image from this machine's Debian or Ubuntu packages, once")
    build.add_argument("--pull", action="store_true", help="fetch a slim Python from the registry instead")
    build.set_defaults(verb=_build)
    listing = group.add_parser("list", help="which image each container mode would use, and whether it is there")
    listing.set_defaults(verb=_list)


def _build(arguments: argparse.Namespace) -> int:
    from gleitzeit_nb.sandbox import images

    say(asyncio.run(images.build(say, pull=arguments.pull)))
    return 0


def _list(_: argparse.Namespace) -> int:
    from gleitzeit_nb.config import load

    modes = [mode for mode in load().sandbox.modes.values() if mode.kind == "docker"]
    return asyncio.run(_resolved([(mode.id, mode.image) for mode in modes]))


async def _resolved(wanted: list[tuple[str, str | None]]) -> int:
    """One line per mode; 1 when an image is missing."""
    from gleitzeit_nb.errors import ImageMissingError
    from gleitzeit_nb.sandbox.daemon import DockerDaemon
    from gleitzeit_nb.sandbox.images import resolve

    daemon, missing = DockerDaemon(), 0
    width = max((len(mode_id) for mode_id, _ in wanted), default=0)
    try:
        for mode_id, image in wanted:
            try:
                text = await daemon.call("look for the image", partial(resolve, wanted=image))
            except ImageMissingError as error:
                text, missing = f"missing: {error}", 1
            say(f"{mode_id:<{width}}  {text}")
    finally:
        daemon.close()
    return missing
