"""Pictures that somebody else made, checked before a reader's program decodes them: what they are, how large, and nothing but the picture.

PNG and JPEG are walked part by part and written anew without the parts that no drawing needs (texts, profiles, previews, animation):
what is passed on was understood. Nothing is decoded here.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass
from typing import Literal

PictureKind = Literal["png", "jpeg", "svg"]

MAX_PIXELS = 25_000_000  # 100 MB once it is decoded
MAX_SIDE = 16_384
MAX_PARTS = 20_000
MAX_SVG_BYTES = 2 << 20

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_PARTS = frozenset((b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"pHYs", b"bKGD", b"sBIT"))
_PNG_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}  # colour type → bit depths (ISO 15948, table 11.1)

_JPEG_FRAMES = frozenset((0xC0, 0xC1, 0xC2))  # baseline, extended, progressive: what browsers show
_JPEG_DROPPED = frozenset((*range(0xE1, 0xEE), 0xEF, 0xFE))  # application data but JFIF's and Adobe's, and comments
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # in coded data: neither a stuffed byte, nor a restart, nor filling

_DOCTYPE = re.compile(r"<!DOCTYPE[^\[\]<>]*>", re.IGNORECASE)
_DECLARATION = re.compile(r"<!(?!--|\[CDATA\[)")


class PictureError(ValueError):
    """Not a picture that may be shown; the message says why."""


@dataclass(frozen=True)
class Picture:
    """A checked picture. Sizes are in pixels; None for SVG, which has none of its own. `data` of an SVG is UTF-8 text."""

    kind: PictureKind
    data: bytes
    width: int | None = None
    height: int | None = None


def checked(kind: PictureKind, data: bytes) -> Picture:
    """The picture, written anew where it can be. Raises PictureError."""
    return {"png": _png, "jpeg": _jpeg, "svg": _svg}[kind](data)


def _require_size(width: int, height: int) -> None:
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE and width * height <= MAX_PIXELS):
        raise PictureError(f"it says that it has {width} × {height} pixels; at most {MAX_PIXELS // 1_000_000} million are shown")


# -- PNG ----------------------------------------------------------------------------------------------------------------------


def _png(data: bytes) -> Picture:
    if data[:8] != _PNG:
        raise PictureError("it does not begin as a PNG does")
    kept, position, size = [_PNG], 8, (0, 0)
    kinds: set[bytes] = set()
    for number in range(MAX_PARTS):
        if len(data) - position < 12:
            raise PictureError("it ends in the middle of a part")
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data) or not kind.isalpha():
            raise PictureError("a part of it has an impossible length or name")
        if zlib.crc32(memoryview(data)[position + 4 : end - 4]) != struct.unpack_from(">I", data, end - 4)[0]:
            raise PictureError("the checksum of a part is wrong")
        if (kind == b"IHDR") != (number == 0):
            raise PictureError("its header is not where it belongs")
        if number == 0:
            size = _png_size(data[position + 8 : end - 4])
        if kind in _PNG_PARTS:
            kept.append(data[position:end])
        elif kind[:1].isupper():
            raise PictureError("it has a part that is needed and not known")
        kinds.add(kind)
        position = end
        if kind == b"IEND":
            break
    if not {b"IDAT", b"IEND"} <= kinds:
        raise PictureError("it holds no picture, or too many parts")
    return Picture("png", b"".join(kept), *size)


def _png_size(header: bytes) -> tuple[int, int]:
    if len(header) != 13:
        raise PictureError("its header has another length than a PNG's")
    width, height, depth, colour, compression, filters, interlace = struct.unpack(">IIBBBBB", header)
    _require_size(width, height)
    if depth not in _PNG_DEPTHS.get(colour, ()) or compression or filters or interlace > 1:
        raise PictureError("its header names a form that no PNG has")
    return width, height


# -- JPEG ---------------------------------------------------------------------------------------------------------------------


def _jpeg(data: bytes) -> Picture:
    if data[:3] != b"\xff\xd8\xff":
        raise PictureError("it does not begin as a JPEG does")
    kept, position, size, scans = [data[:2]], 2, (0, 0), 0
    for _ in range(MAX_PARTS):
        marker, end = _jpeg_part(data, position)
        if marker == 0xD9:
            break
        if marker in _JPEG_FRAMES:
            if size != (0, 0):
                raise PictureError("it holds more than one picture")
            size = _jpeg_size(data[position + 4 : end])
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            raise PictureError("it is coded in a way that is not shown")
        if marker == 0xDA:
            following = _NEXT_MARKER.search(data, end)
            if following is None:
                raise PictureError("it ends in the middle of the picture")
            end, scans = following.start(), scans + 1
        if marker not in _JPEG_DROPPED:
            kept.append(data[position:end])
        position = end
    else:
        raise PictureError("it has too many parts")
    if size == (0, 0) or not scans:
        raise PictureError("it holds no picture")
    return Picture("jpeg", b"".join([*kept, b"\xff\xd9"]), *size)


def _jpeg_part(data: bytes, position: int) -> tuple[int, int]:
    """(marker, where the part ends)."""
    if len(data) - position < 2 or data[position] != 0xFF:
        raise PictureError("it ends, or goes on impossibly, after a part")
    marker = data[position + 1]
    if marker == 0xD9:
        return marker, position + 2
    length = int.from_bytes(data[position + 2 : position + 4], "big")
    if marker < 0xC0 or 0xD0 <= marker <= 0xD8 or length < 2 or position + 2 + length > len(data):
        raise PictureError("a part of it has an impossible length or name")
    return marker, position + 2 + length


def _jpeg_size(frame: bytes) -> tuple[int, int]:
    if len(frame) < 6 or frame[0] not in (8, 12):
        raise PictureError("its header names a form that no JPEG has")
    height, width = struct.unpack(">HH", frame[1:5])
    _require_size(width, height)
    return width, height


# -- SVG ----------------------------------------------------------------------------------------------------------------------


def _svg(data: bytes) -> Picture:
    """For use inside `<img>` only, where a browser runs no script of it and fetches nothing for it."""
    if len(data) > MAX_SVG_BYTES:
        raise PictureError(f"it has {len(data)} bytes; at most {MAX_SVG_BYTES} of an SVG are shown")
    try:
        text = data.decode("utf-8").lstrip("\ufeff \t\r\n")
    except UnicodeDecodeError as exc:
        raise PictureError("it is not UTF-8 text") from exc
    text = _DOCTYPE.sub("", text, count=1)
    if _DECLARATION.search(text):
        raise PictureError("it declares entities, which can grow without bound")
    if not _after_prologue(text).startswith(("<svg ", "<svg>", "<svg\n", "<svg\t", "<svg\r")):
        raise PictureError("it does not begin as an SVG does")
    return Picture("svg", text.encode("utf-8"))


def _after_prologue(text: str) -> str:
    """What follows the XML declaration, comments and blanks."""
    position = 0
    while True:
        while text[position : position + 1].isspace():
            position += 1
        closing = "?>" if text.startswith("<?", position) else "-->" if text.startswith("<!--", position) else ""
        end = text.find(closing, position) if closing else -1
        if end < 0:
            return text[position : position + 8]
        position = end + len(closing)
