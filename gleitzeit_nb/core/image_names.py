"""Names of container images: is this one, before anybody asks a daemon for it. Pure.

By the grammar of github.com/distribution/reference: [host[:port]/]path[:tag][@digest], or an image's id.
"""

from __future__ import annotations

import re

_LONGEST = 255
_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_HOST = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:]+\])"
_NAME = re.compile(rf"(?:{_HOST}(?::[0-9]+)?/)?(?P<path>{_PART}(?:/{_PART})*)(?::(?P<tag>[^:/@]*))?(?:@(?P<digest>.*))?")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}")
_ID = re.compile(r"sha256:[0-9a-f]{64}")


def image_problem(name: str) -> str:
    """Why `name` can be no image, to stand behind it; "" when it can."""
    if _ID.fullmatch(name):
        return ""
    if not name or len(name) > _LONGEST or not name.isascii() or not name.isprintable() or " " in name:
        return "is no image name, which has at most 255 letters, digits and . _ - / : @"
    found = _NAME.fullmatch(name)
    if found is None:
        lower = name.rpartition("/")[2] != name.rpartition("/")[2].lower() and _NAME.fullmatch(name.lower()) is not None
        return "is no image name: write it in lower case" if lower else "is no image name such as python:3.12-slim or ghcr.io/team/image:1"
    if found["tag"] is not None and not _TAG.fullmatch(found["tag"]):
        return "has no proper tag behind its colon, such as latest or 3.12-slim"
    if found["digest"] is not None and not _DIGEST.fullmatch(found["digest"]):
        return "has no proper digest behind its @, such as sha256: and 64 hexadecimal digits"
    return ""
