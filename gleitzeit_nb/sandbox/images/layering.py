"""Runs inside a container without network: resolves requirements against the image's own packages, and unpacks what is missing.

Sent as text, standard library only. pip unpacks wheels without running anything of theirs; what they bring goes into one directory of
its own, which no Python looks into by itself: a wheel's `.pth` or `sitecustomize` file is never read.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from typing import Any

ANSWER = "gleitzeit-layer:"
ALIKE = ["--no-index", "--only-binary", ":all:", "--no-cache-dir", "--break-system-packages", "--root-user-action", "ignore", "--no-input"]


def main(options: dict[str, Any]) -> None:
    """`options`: `pip` (its wheel), `wheels` (their folder), `requirements` (a file there), `hashed`, `target`."""
    wanted = ["-r", os.path.join(options["wheels"], options["requirements"]), *(["--require-hashes"] if options["hashed"] else [])]
    _pip(options, "--dry-run", "--report", "/tmp/report.json", *wanted)
    with open("/tmp/report.json", encoding="utf-8") as file:
        resolved = [_package(each) for each in json.load(file)["install"]]
    os.makedirs(options["target"], exist_ok=True)
    if resolved:
        with open("/tmp/resolved.txt", "w", encoding="utf-8") as file:
            file.writelines(f"{name}=={version} --hash=sha256:{digest}\n" for name, version, digest in resolved)
        _pip(options, "--no-deps", "--require-hashes", "--target", options["target"], "-r", "/tmp/resolved.txt")
    sys.stdout.write(ANSWER + json.dumps({"packages": resolved, "replaced": [name for name, _, _ in resolved if _is_there(name)]}) + "\n")


def _pip(options: dict[str, Any], *words: str) -> None:
    command = [sys.executable, "-I", os.path.join(options["wheels"], options["pip"], "pip"), "install", "--quiet", *ALIKE]
    done = subprocess.run([*command, "--find-links", options["wheels"], *words], check=False, env={"HOME": "/tmp", "TMPDIR": "/tmp"})
    if done.returncode:
        sys.exit(done.returncode)


def _package(entry: dict[str, Any]) -> tuple[str, str, str]:
    return entry["metadata"]["name"], entry["metadata"]["version"], entry["download_info"]["archive_info"]["hashes"]["sha256"]


def _is_there(name: str) -> bool:
    """With another version, or pip would have left it alone."""
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
