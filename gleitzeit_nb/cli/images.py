"""`images build`, `list`, `load`, `save` and `prune`: what containers are made from."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from gleitzeit_nb.cli.terminal import ProgressBar, is_terminal, say
from gleitzeit_nb.errors import UsageError

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from gleitzeit_nb.sandbox.daemon import DockerDaemon
    from gleitzeit_nb.sandbox.images.inventory import Inventory

KINDS = ("sandbox", "datascience")

T = TypeVar("T")


def add_commands(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    group = commands.add_parser("images", help="the container images of the sandbox").add_subparsers(required=True, metavar="VERB")
    build = group.add_parser("build", help="make an image, once; by default from this machine's Debian or Ubuntu packages")
    build.add_argument("kind", nargs="?", choices=KINDS, default=KINDS[0], help="which image (%(default)s)")
    origin = build.add_mutually_exclusive_group()
    origin.add_argument("--pull", action="store_true", help="on a slim Python that is fetched from the registry, by its digest")
    origin.add_argument("--base", metavar="IMAGE", help="on this image, which the daemon has")
    origin.add_argument("--from-debian", action="store_true", help="on the distribution's packages, without any registry (the default)")
    build.add_argument("--requirements", action="append", metavar="WHAT", help="add packages to it: a file, or one as seaborn==0.13.2")
    build.add_argument("--download", action="store_true", help="fetch their wheels (and no sources), with pip")
    build.add_argument("--tag", metavar="NAME", help="name the image with the packages")
    build.add_argument("--offline", action="store_true", help="fetch no wheels: take those that are there")
    build.add_argument("--wheelhouse", type=Path, metavar="DIR", help="the folder of the wheels")
    build.set_defaults(verb=_build)
    listing = group.add_parser("list", help="the images of ours, what they hold and who uses them")
    listing.add_argument("--json", action="store_true")
    listing.set_defaults(verb=_list)
    save = group.add_parser("save", help="write an image to a file, for a machine without a registry")
    save.add_argument("file", type=Path)
    save.add_argument("image", nargs="?", default=KINDS[0], help="sandbox, datascience or a name (%(default)s)")
    save.set_defaults(verb=_save)
    load = group.add_parser("load", help="give the daemon an image from such a file")
    load.add_argument("file", type=Path)
    load.add_argument("--sha256", metavar="HEX", help="refuse the file unless this is its fingerprint")
    load.add_argument("--force", action="store_true", help="also images that are not ours")
    load.set_defaults(verb=_load)
    prune = group.add_parser("prune", help="remove images of ours that no mode uses; shows them first")
    prune.add_argument("--yes", action="store_true", help="really remove them")
    prune.set_defaults(verb=_prune)


def _build(arguments: argparse.Namespace) -> int:
    from gleitzeit_nb.sandbox import images
    from gleitzeit_nb.sandbox.images.making import Ways

    if arguments.requirements:
        return _build_layer(arguments)
    if arguments.download or arguments.tag:
        raise UsageError("--download and --tag belong to --requirements")
    ways = Ways(pull=arguments.pull, base=arguments.base, offline=arguments.offline, wheelhouse=arguments.wheelhouse)
    say(asyncio.run(images.build(say, kind=arguments.kind, ways=ways)))
    return 0


def _build_layer(arguments: argparse.Namespace) -> int:
    from gleitzeit_nb.config import requirements
    from gleitzeit_nb.sandbox.images import layers
    from gleitzeit_nb.sandbox.images.recipes import LATEST

    if arguments.pull or arguments.from_debian:
        raise UsageError("packages are added to an image that is there: sandbox, datascience, or --base IMAGE")
    if arguments.download and arguments.offline:
        raise UsageError("--download fetches wheels, and --offline forbids it")
    wanted = requirements(arguments.requirements)

    async def work(daemon: DockerDaemon) -> str:
        base = await layers.base_of(arguments.base or LATEST[arguments.kind], daemon)
        wheelhouse = arguments.wheelhouse or _configured_wheelhouse()
        name = await layers.make(base, wanted, wheelhouse, say, daemon, download=arguments.download)
        if arguments.tag:
            repository, _, tag = arguments.tag.partition(":")
            await daemon.call("name the image", lambda api: api.tag(name, repository, tag or "latest"))
        return name

    say(_with_daemon(work))
    return 0


def _configured_wheelhouse() -> Path | None:
    from gleitzeit_nb.config import load

    found = load().sandbox.wheelhouse
    return None if found is None else Path(found)


def _list(arguments: argparse.Namespace) -> int:
    """1 when the image that a mode's configuration names is missing."""
    from gleitzeit_nb.rendering.images import inventory_text

    inventory = _with_daemon(_stock)
    if arguments.json:
        shown = [{**asdict(image), "used_by": inventory.users(image), "out_of_date": inventory.age(image)} for image in inventory.images]
        modes = [asdict(wanted) for wanted in inventory.modes]
        say(json.dumps({"images": shown, "modes": modes}, indent=2, ensure_ascii=not is_terminal()))
    else:
        say(inventory_text(inventory))
    return int(any(wanted.problem and wanted.own for wanted in inventory.modes))


def _save(arguments: argparse.Namespace) -> int:
    from gleitzeit_nb.sandbox.images.archives import save
    from gleitzeit_nb.sandbox.images.recipes import LATEST

    image = LATEST.get(arguments.image, arguments.image)
    bar = ProgressBar(f"saving {image}")
    digest = _with_daemon(lambda daemon: save(image, arguments.file, daemon, bar))
    say(f"{arguments.file} holds {image}\nsha256 {digest}")
    return 0


def _load(arguments: argparse.Namespace) -> int:
    from gleitzeit_nb.sandbox.images import archives

    try:
        file = arguments.file.open("rb")
    except OSError as exc:
        raise UsageError(f"{arguments.file} cannot be read: {exc.strerror}") from exc
    with file:
        digest = archives.fingerprint(file, ProgressBar(f"reading {arguments.file.name}"))
        say(f"sha256 {digest}")
        if arguments.sha256 and arguments.sha256.lower() != digest:
            raise UsageError(f"{arguments.file} has another fingerprint than {arguments.sha256[:64]}: nothing was loaded")
        problems = [image.problem for image in archives.look_into(file) if image.problem]
        if problems and not arguments.force:
            raise UsageError(f"Not loaded: {'; '.join(problems)}.\nLoad it all the same with --force, if you know where it is from")
        for line in _with_daemon(lambda daemon: archives.load(file, daemon)):
            say(line)
    return 0


def _prune(arguments: argparse.Namespace) -> int:
    from gleitzeit_nb.rendering.images import removal_text
    from gleitzeit_nb.sandbox.images.inventory import remove

    unused = _with_daemon(_stock).unused()
    say(removal_text(unused))
    if not unused:
        return 0
    if not arguments.yes:
        say("Nothing is removed yet. Add --yes to do it.")
        return 0
    kept = 0
    for image, why in _with_daemon(lambda daemon: remove(unused, daemon)):
        kept += bool(why)
        say(f"kept {image.name}: {why}" if why else f"removed {image.name}")
    return int(kept > 0)


async def _stock(daemon: DockerDaemon) -> Inventory:
    from gleitzeit_nb.config import load
    from gleitzeit_nb.sandbox.images.inventory import take_stock

    return await take_stock(load().sandbox.modes.values(), daemon)


def _with_daemon(work: Callable[[DockerDaemon], Awaitable[T]]) -> T:
    from gleitzeit_nb.sandbox.daemon import DockerDaemon

    async def run() -> T:
        daemon = DockerDaemon()
        try:
            return await work(daemon)
        finally:
            daemon.close()

    return asyncio.run(run())
