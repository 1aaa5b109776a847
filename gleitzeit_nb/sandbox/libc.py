"""Calls to the C library without the module `ctypes`, only its core: importing the rest takes a third of a bare Python's start.

Travels to the guest, and to what closes the doors before it: standard library only, Python 3.8.
"""

from __future__ import annotations

import os
from _ctypes import FUNCFLAG_CDECL, FUNCFLAG_USE_ERRNO, CFuncPtr, _SimpleCData, dlopen, dlsym, get_errno

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class _Int(_SimpleCData):  # type: ignore[type-arg]
    _type_ = "i"


class _Long(_SimpleCData):  # type: ignore[type-arg]
    _type_ = "l"


class _Text(_SimpleCData):  # type: ignore[type-arg]
    _type_ = "z"


class _Function(CFuncPtr):
    _flags_ = FUNCFLAG_CDECL | FUNCFLAG_USE_ERRNO
    _restype_ = _Int


_LIBRARY = dlopen(None, 0)  # type: ignore[arg-type]  # this program, and with it the C library


def call(name: str, *arguments: int | bytes | None) -> int:
    """The function's answer; numbers are passed as long. OSError when it is negative."""
    function: Any = _Function(dlsym(_LIBRARY, name))
    result = int(function(*[_Long(each) if isinstance(each, int) else each for each in arguments]))
    if result < 0:
        number = get_errno()
        raise OSError(number, f"{name}({', '.join(map(repr, arguments))}): {os.strerror(number)}")
    return result


def address(data: bytes) -> bytes:
    """Where `data` lies, as a pointer in memory is written: for as long as `data` is kept."""
    return bytes(memoryview(_Text(data)))
