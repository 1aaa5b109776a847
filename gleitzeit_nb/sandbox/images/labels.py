"""What stands on an image of ours, so that it can be told from others, compared with this version's recipe, and used as it is meant."""

from __future__ import annotations

from collections.abc import Mapping

KIND = "gleitzeit.image.kind"  # sandbox, datascience or requirements
RECIPE = "gleitzeit.image.recipe"  # digest of what this package does to make it, without its base
VERSION = "gleitzeit.image.version"  # of this package, when it was made
BASE = "gleitzeit.image.base"  # id of the image that it was made from, or the packages' source
PYTHON = "gleitzeit.image.python"
PRELOAD = "gleitzeit.image.preload"  # modules that a guest imports first, with commas between them
REQUIREMENTS = "gleitzeit.image.requirements"  # digest of the lines that were asked for
REPLACED = "gleitzeit.image.replaced"  # present where packages take the place of those of the base
PACKAGES = "gleitzeit.image.packages"  # what was added to the base, as name==version with spaces between them
STAGE = "gleitzeit.image.stage"  # on what is only copied from while an image is built


def preloaded(labels: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(name for name in labels.get(PRELOAD, "").split(",") if name)
