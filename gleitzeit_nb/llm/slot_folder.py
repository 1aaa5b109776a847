"""Where the slot files lie: a folder that belongs to this user alone, with one folder in it for each server."""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import os
import re
import stat
from pathlib import Path
from urllib.parse import urlsplit

from gleitzeit_nb.config import normalise_url, runtime_directory
from gleitzeit_nb.errors import ConfigError

LOOPBACK = "loopback"
_MODE = 0o700
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


class NotPrivateError(OSError):
    """The folder may be read or changed by others, so nothing in it can be believed."""


def server_key(url: str) -> str:
    """What all the spellings of a server's address have in common: `loopback:11434`, `gpu-1:443/ollama`.

    All names of this machine's loopback are one. The scheme counts only for the port that it implies.
    """
    try:
        parts = urlsplit(normalise_url(url))
    except ConfigError:
        return url
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return f"{_host(parts.hostname or '')}:{port}{parts.path.rstrip('/')}"


def _host(name: str) -> str:
    name = name.lower().rstrip(".")
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return LOOPBACK if name == "localhost" else name
    plain = getattr(address, "ipv4_mapped", None) or address
    return LOOPBACK if plain in (ipaddress.IPv4Address("127.0.0.1"), ipaddress.IPv6Address("::1")) else str(plain)


def folder_name(url: str) -> str:
    """A name for the server's folder: readable, and different for different servers."""
    key = server_key(url)
    return f"{re.sub('[^a-z0-9]+', '-', key.lower())[:40].strip('-')}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"


def home() -> Path:
    """$XDG_RUNTIME_DIR/gleitzeit; for a user without one, a folder of their own in /tmp (not $TMPDIR, in which kernels may differ)."""
    return runtime_directory() or Path(f"/tmp/gleitzeit-{os.geteuid()}")


def open_folder(root: Path, url: str) -> int:
    """A descriptor of the folder for that server, made where it is missing. NotPrivateError, OSError."""
    top = open_root(root)
    try:
        inner = _open_made("slots", top)
        try:
            return _open_made(folder_name(url), inner)
        finally:
            os.close(inner)
    finally:
        os.close(top)


def _open_made(name: str, parent: int) -> int:
    """In a folder that nobody else can write to, what is there is one's own."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, _MODE, dir_fd=parent)
    return os.open(name, _FOLDER, dir_fd=parent)


def open_root(path: Path) -> int:
    """A descriptor of the folder for all servers, made where it is missing. NotPrivateError, OSError."""
    with contextlib.suppress(FileExistsError):
        path.mkdir(_MODE)
    try:
        found = os.open(path, _FOLDER)
    except OSError as exc:
        if path.is_symlink() or (path.exists() and not path.is_dir()):
            raise NotPrivateError(f"{path} is no folder but a link or a file") from exc
        raise
    problem = _what_is_wrong(os.fstat(found))
    if problem:
        os.close(found)
        raise NotPrivateError(f"{path} {problem}")
    return found


def _what_is_wrong(status: os.stat_result) -> str:
    if status.st_uid != os.geteuid():
        return f"belongs to another user (uid {status.st_uid})"
    mode = stat.S_IMODE(status.st_mode)
    return f"is open to other users (mode {mode:04o}, should be 0700)" if mode & 0o077 else ""
