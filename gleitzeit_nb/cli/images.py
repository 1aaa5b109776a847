"""`images build` and `images list`: what containers are made from."""

from __future__ import annotations

import argparse
import asyncio
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from gleitzeit_nb.cli.terminal import say

if TYPE_CHECKING:
    from argparse import _SubParsersAction

KINDS = ("sandbox", "datascience")


def add_commands(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    group = commands.add_parser("images", help="the container images of the sandbox").add_subparsers(required=True, metavar="VERB")
    build = group.add_parser("build", help="make an image, once; by default from this machine's Debian or Ubuntu packages")
    build.add_argument("kind", nargs="?", choices=KINDS, default=KINDS[0], help="which image (%(default)s)")
    origin = build.add_mutually_exclusive_group()
    origin.add_argument("--pull", action="store_true", help="on a slim Python that is fetched from the registry, by its digest")
    origin.add_argument("--base", metavar="IMAGE", help="on this image, which the daemon has")
    origin.add_argument("--from-debian", action="store_true", help="on the distribution's packages, without any registry (the default)")
    build.add_argument("--offline", action="store_true", help="fetch no wheels: take those that are there")
    build.add_argument("--wheelhouse", type=Path, metavar="DIR", help="the folder of the wheels")
    build.set_defaults(verb=_build)
    listing = group.add_parser("list", help="which image each container mode would use, and whether it is there")
    listing.set_defaults(verb=_list)


def _build(arguments: argparse.Namespace) -> int:
    from gleitzeit_nb.sandbox import images
    from gleitzeit_nb.sandbox.images.making import Ways

    ways = Ways(pull=arguments.pull, base=arguments.base, offline=arguments.offline, wheelhouse=arguments.wheelhouse)
    say(asyncio.run(images.build(say, kind=arguments.kind, ways=ways)))
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
