"""Pictures for a model: what a notebook holds (files, bytes, PIL images, figures, arrays) as the base64 text that Ollama takes.

Nothing is fetched: an address is refused. Nothing heavy is imported that the caller has not imported before.
"""

from __future__ import annotations

import base64
import binascii
import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

MAX_BYTES = 20 << 20
MAX_PIXELS = 50_000_000
_PATH_CHARS = 4096  # longer texts are no paths
_TAKES = "give a path, bytes, a PIL image, a matplotlib figure, or an array of shape (height, width), (…, 3) or (…, 4)"
_FORMATS = "PNG, JPEG, WebP, GIF or BMP"


def encoded(images: Any) -> tuple[str, ...]:
    """One picture or a list of them, each as base64. Raises ValueError or TypeError that says what is wrong with which."""
    if images is None:
        return ()
    return tuple(map(picture, images)) if isinstance(images, (list, tuple)) else (picture(images),)


def picture(value: Any) -> str:
    """One picture as base64. A text is the path of a file, else base64 already."""
    if isinstance(value, str):
        return _of_text(value)
    if isinstance(value, os.PathLike):
        return _base64(_read(Path(value)), f"the file {str(value)[:120]!r}")
    name = f"the picture of type {type(value).__name__}"
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _base64(bytes(value), name)
    return _base64(_drawn(value), name)


def _drawn(value: Any) -> bytes:
    """What a library's own object shows. Known by what they can do, so that none of the libraries is imported here."""
    figure: Any = value if callable(getattr(value, "savefig", None)) else getattr(value, "figure", None)
    if callable(getattr(figure, "savefig", None)):
        return _written(lambda buffer: figure.savefig(buffer, format="png"))
    if callable(getattr(value, "save", None)) and hasattr(value, "mode") and hasattr(value, "size"):
        _refuse_large(*value.size)
        plain = _plain(value)
        return _written(lambda buffer: plain.save(buffer, format="PNG"))
    if hasattr(value, "__array_interface__"):
        return png_of(value)
    drawn = getattr(value, "_repr_png_", None)
    data = drawn() if callable(drawn) else None
    if not isinstance(data, bytes):
        raise TypeError(f"{type(value).__name__} is not a picture: {_TAKES}")
    return data


def _plain(image: Any) -> Any:
    """A PIL image in a mode that PNG shows as it looks. Numbers beyond the shades of a screen are refused: PIL would cut them off."""
    if image.mode in ("1", "L", "LA", "P", "RGB", "RGBA"):
        return image
    if image.mode == "F" or image.mode.startswith("I"):
        low, high = image.getextrema()
        if image.mode != "F" or not (low >= 0 and high <= 1):
            what = f"an image of mode {image.mode} with values from {low:g} to {high:g} is not a picture"
            raise ValueError(f"{what}: make it 8 bits (mode L), or mode F from 0 to 1")
        return image.point(lambda shade: shade * 255 + 0.5).convert("L")
    return image.convert("RGBA" if image.mode in ("PA", "La", "RGBa") else "RGB")


def _written(write: Callable[[io.BytesIO], object]) -> bytes:
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


def _of_text(text: str) -> str:
    start = text.lstrip()[:16].lower()
    if "://" in text[:200] or start.startswith("data:"):
        raise ValueError(f"{text[:60]!r} is an address, and nothing is fetched for a prompt: save the picture to a file and give its path")
    path = Path(text).expanduser() if len(text) < _PATH_CHARS and "\0" not in text else None
    if path is not None and _is_file(path):
        return _base64(_read(path), f"the file {text[:120]!r}")
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if path is not None and dimensions(data) is None:
        raise ValueError(f"there is no file {text[:120]!r}; {_TAKES}")
    return _base64(data, "the picture in base64")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # such as a name that is too long
        return False


def _read(path: Path) -> bytes:
    try:
        path = path.expanduser()
        _refuse_heavy(path.stat().st_size, f"the file {str(path)!r}")
        return path.read_bytes()
    except OSError as exc:
        raise ValueError(f"the picture {str(path)!r} cannot be read: {exc.strerror or exc}") from exc


def _base64(data: bytes, name: str) -> str:
    _refuse_heavy(len(data), name)
    size = dimensions(data)
    if size is None:
        raise ValueError(f"{name} is no picture that a model can take: it must be {_FORMATS}")
    _refuse_large(*size)
    return base64.b64encode(data).decode("ascii")


def _refuse_heavy(size_bytes: int, name: str) -> None:
    if size_bytes > MAX_BYTES:
        raise ValueError(f"{name} has {size_bytes / (1 << 20):.1f} MiB; a picture may have {MAX_BYTES >> 20} MiB. Make it smaller first")


def _refuse_large(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        most = MAX_PIXELS // 1_000_000
        raise ValueError(f"the picture has {width} × {height} pixels; {most} million is the most. Make it smaller first")


# -- headers ------------------------------------------------------------------------------------------------------------------


def dimensions(data: bytes) -> tuple[int, int] | None:
    """(width, height) by a picture's header; None: it is none of the formats that models are given."""
    try:
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            return struct.unpack(">II", data[16:24])
        if data.startswith((b"GIF87a", b"GIF89a")):
            return struct.unpack("<HH", data[6:10])
        if data.startswith(b"BM"):
            width, height = struct.unpack("<ii", data[18:26])
            return abs(width), abs(height)
        if data.startswith(b"\xff\xd8"):
            return _jpeg_size(data)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp_size(data)
    except (struct.error, IndexError):
        pass  # it ends inside its header
    return None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """From the frame header, SOF0 to SOF15 without the four markers in that range that are none (ITU T.81, table B.1)."""
    at = 2
    while data[at] == 0xFF:
        marker = data[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return width, height
        at += 1 if marker == 0xFF else 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]
    return None


def _webp_size(data: bytes) -> tuple[int, int] | None:
    """From the first chunk: lossy, lossless or extended (RFC 9649, sections 2.5 to 2.7)."""
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        bits = struct.unpack("<I", data[21:25])[0]
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack("<HH", data[26:30])
        return width & 0x3FFF, height & 0x3FFF
    return None


# -- arrays -------------------------------------------------------------------------------------------------------------------


def png_of(array: Any) -> bytes:
    """A numpy array as PNG: grey (height, width), colour (…, 3) or colour with alpha (…, 4); uint8, bool, or float from 0 to 1."""
    import numpy as np

    pixels = np.asarray(array)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if not pixels.size or not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (3, 4))):
        raise ValueError(f"an array of shape {pixels.shape} is not a picture: it must be (height, width), (…, 3) or (…, 4)")
    height, width = pixels.shape[:2]
    _refuse_large(width, height)
    colour_type = 0 if pixels.ndim == 2 else {3: 2, 4: 6}[pixels.shape[2]]
    rows = _eight_bits(pixels).reshape(height, -1)
    unfiltered = np.concatenate([np.zeros((height, 1), np.uint8), rows], axis=1).tobytes()  # each row begins with its filter: none
    header = struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(unfiltered)) + _chunk(b"IEND", b"")


def _eight_bits(pixels: Any) -> Any:
    import numpy as np

    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype.kind == "b":
        return pixels.astype(np.uint8) * np.uint8(255)
    if pixels.dtype.kind != "f":
        raise ValueError(f"an array of {pixels.dtype} is not a picture: make it uint8 (0 to 255) or float (0 to 1)")
    low, high = float(pixels.min()), float(pixels.max())
    if not (low >= 0 and high <= 1):  # also when there is a NaN
        raise ValueError(f"an array of floats from {low:g} to {high:g} is not a picture: they must be from 0 to 1")
    return np.rint(pixels * 255).astype(np.uint8)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
