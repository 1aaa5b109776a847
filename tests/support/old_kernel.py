"""The kernel of ipykernel 6, which has no subshells, beside the newer one of this environment: everything else is this environment's."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

REQUIREMENTS = ("ipykernel>=6.29,<7", "nest_asyncio>=1.6")  # all else that it needs, the newer one needs as well
NAME = "ipykernel-6"


def install_old_kernel(root: Path) -> Path:
    """Jupyter data in `root` where a server finds it under `NAME`."""
    environment = root / "environment"
    venv.create(environment)
    python = environment / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    done = subprocess.run([*command, *REQUIREMENTS], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"ipykernel 6 cannot be installed here: {done.stderr[-500:]}")
    [packages] = environment.glob("lib/python3.*/site-packages")
    # Its own packages come first; those of this environment follow, with what its .pth files add.
    (packages / "those-of-the-tests.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    data = root / "data"
    kernel = data / "kernels" / NAME
    kernel.mkdir(parents=True)
    argv = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernel / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "ipykernel 6", "language": "python"}))
    return data
