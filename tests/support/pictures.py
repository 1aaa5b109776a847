"""Small real pictures, and the parts to make false ones of."""

from __future__ import annotations

import struct
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def png_part(kind: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(width: int = 2, height: int = 1, depth: int = 8, colour: int = 2, rest: bytes = b"\0\0\0") -> bytes:
    return png_part(b"IHDR", struct.pack(">IIBB", width, height, depth, colour) + rest)


def png(width: int = 2, height: int = 1, *, header: bytes | None = None, extra: bytes = b"", end: bytes = b"") -> bytes:
    """Red. `extra`: parts between header and picture."""
    rows = zlib.compress((b"\0" + b"\xff\0\0" * min(width, 100)) * min(height, 100))
    body = png_part(b"IDAT", rows) + png_part(b"IEND")
    return SIGNATURE + (png_header(width, height) if header is None else header) + extra + body + end


def jpeg_part(marker: int, data: bytes = b"") -> bytes:
    return bytes((0xFF, marker)) + (len(data) + 2).to_bytes(2, "big") + data


def jpeg(width: int = 3, height: int = 2, *, extra: bytes = b"", frame: int = 0xC0) -> bytes:
    """The parts of a JPEG in their order; nobody decodes what is coded in it."""
    size = b"\x08" + struct.pack(">HH", height, width) + b"\x01\x01\x11\x00"
    scan = jpeg_part(0xDA, b"\x01\x01\x00\x00\x3f\x00") + b"\x12\xff\x00\x34\xff\xd0\x56"
    return b"\xff\xd8" + jpeg_part(0xE0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0") + extra + jpeg_part(frame, size) + scan + b"\xff\xd9"


SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="4" height="4"><rect width="4" height="4"/></svg>'
