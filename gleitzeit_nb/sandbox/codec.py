"""Values as plain data: JSON, text, bytes, and `.npy` arrays and columns. Never pickle.

Shared by host and guest (see `protocol`): standard library only, Python 3.8. numpy and pandas are used when the value is theirs.
Decoding trusts nothing: an array's header is parsed here, and its type, shape and size are checked before numpy sees a byte;
numpy's own parser is never called.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TEXT, BYTES, JSON, NPY, FRAME = "text", "bytes", "json", "npy", "frame"
KINDS = (TEXT, BYTES, JSON, NPY, FRAME)
NEEDS = {NPY: "numpy", FRAME: "pandas"}

MAX_JSON_BYTES = 16 << 20  # parsed JSON takes some twenty times its text
MAX_DEPTH = 100
MAX_COLUMNS = 10_000
MAX_DIMENSIONS = 32
ADVICE = "turn it into text, numbers, lists, dictionaries, bytes, a numpy array or a DataFrame first"

_MAGIC = b"\x93NUMPY\x01\x00"
_NPY_HEADER_BYTES = 4096
_DTYPE = r"[<>|=](?:b1|[iu][1248]|f(?:2|4|8|12|16)|c(?:8|16|24|32)|[SU][1-9]\d{0,6}|[mM]8(?:\[\d{0,4}[A-Za-z]{1,2}\])?)"
_NUMERIC = "biufcmM"
# pandas' own types of columns that are plain data; the others are refused rather than changed.
_EXTENDED = frozenset(("string", "boolean", "Float32", "Float64", *(f"{sign}Int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64))))
_ZONED = r"datetime64\[(?:s|ms|us|ns), [A-Za-z0-9_+\-/]{1,64}\]"
_OBJECTS = frozenset(("object", "str"))


class CodecError(ValueError):
    """A value that is no plain data, or data that is no value. The message is a sentence for the user."""


def encode(value: Any) -> tuple[str, bytes]:
    """(kind, data) of a value. Raises CodecError for what cannot cross as data."""
    if isinstance(value, str):
        return TEXT, _utf8(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return BYTES, bytes(value)
    library = type(value).__module__.partition(".")[0]
    if library == "numpy" and getattr(value, "ndim", 0) != 0:
        return NPY, _encode_array(value)
    if library == "pandas" and hasattr(value, "iloc"):
        return FRAME, _encode_frame(value)
    if library == "polars":
        raise CodecError(f"it is a {type(value).__name__} of polars; use .to_pandas(), or .to_dict(as_series=False)")
    return JSON, _encode_json(value)


def decode(kind: str, data: bytes) -> Any:
    """The value. Raises CodecError when `data` is not a well-formed `kind`, ImportError when its package is not here."""
    if kind == TEXT:
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError as exc:
            raise CodecError("it is not UTF-8 text") from exc
    if kind == BYTES:
        return bytes(data)
    if kind == JSON:
        return _decode_json(data)
    if kind == NPY:
        return _decode_array(data)
    if kind == FRAME:
        return _decode_frame(data)
    raise CodecError(f"{kind!r} is no kind of value")


# -- JSON and text ------------------------------------------------------------------------------------------------------------


def _utf8(text: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as exc:
        raise CodecError("its text holds half a surrogate pair, which is no character; encode it to bytes first") from exc


def _encode_json(value: Any) -> bytes:
    import json

    data = json.dumps(_plain(value, "", 0)).encode("ascii")
    if len(data) > MAX_JSON_BYTES:
        raise CodecError(f"it takes {len(data)} bytes as JSON, more than {MAX_JSON_BYTES}; use bytes, a numpy array or a DataFrame")
    return data


def _plain(value: Any, where: str, depth: int) -> Any:
    """A copy in JSON's own types. Tuples become lists; nothing else changes silently."""
    if depth > MAX_DEPTH:
        raise CodecError(f"it is nested deeper than {MAX_DEPTH} levels, or contains itself")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, str):
        _utf8(value)
        return str(value)
    if isinstance(value, (list, tuple)):
        return [_plain(each, f"{where}[{index}]", depth + 1) for index, each in enumerate(value)]
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise CodecError(f"{_at(where)} has a key of type {type(key).__name__}; only text keys cross, so write str(key)")
        return {str(key): _plain(each, f"{where}[{key!r}]", depth + 1) for key, each in value.items()}
    if type(value).__module__ == "numpy" and getattr(value, "ndim", 1) == 0 and value.dtype.kind in "biufU":
        return _plain(value.item(), where, depth + 1)
    raise CodecError(f"{_at(where)} is of type {type(value).__name__}, which is no plain data; {ADVICE}")


def _matches(pattern: str, text: str) -> bool:
    import re

    return re.fullmatch(pattern, text) is not None


def _at(where: str) -> str:
    return f"its part {where}" if where else "it"


def _decode_json(data: bytes) -> Any:
    import json

    if len(data) > MAX_JSON_BYTES:
        raise CodecError(f"it takes {len(data)} bytes as JSON, more than {MAX_JSON_BYTES}")
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise CodecError("it is not JSON that can be read here") from exc


# -- numpy --------------------------------------------------------------------------------------------------------------------


def _encode_array(array: Any) -> bytes:
    import numpy

    if hasattr(array, "mask"):
        raise CodecError("it is a masked array; fill it first, with .filled()")
    plain = numpy.asarray(array, order="C")
    descr = plain.dtype.str
    if not _matches(_DTYPE, descr):
        raise CodecError(f"it is an array of dtype {plain.dtype}, which is no plain data; use a numeric, date or fixed-width text dtype")
    header = repr({"descr": descr, "fortran_order": False, "shape": tuple(plain.shape)}).encode("ascii")
    header += b" " * (-(len(_MAGIC) + 2 + len(header) + 1) % 64) + b"\n"
    return _MAGIC + len(header).to_bytes(2, "little") + header + bytes(plain.tobytes())


def _npy_header(data: bytes) -> tuple[str, bool, tuple[int, ...], int]:
    """(dtype, Fortran order, shape, where the elements start), every one of them checked."""
    start = len(_MAGIC) + 2
    if len(data) < start or data[: len(_MAGIC)] != _MAGIC:
        raise CodecError("it is no .npy array of version 1.0")
    length = int.from_bytes(data[len(_MAGIC) : start], "little")
    if length > _NPY_HEADER_BYTES or len(data) < start + length:
        raise CodecError("its .npy header has an impossible length")
    import ast

    try:
        header = ast.literal_eval(data[start : start + length].decode("ascii").strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError) as exc:
        raise CodecError("its .npy header cannot be read") from exc
    if not isinstance(header, dict) or set(header) != {"descr", "fortran_order", "shape"}:
        raise CodecError("its .npy header has other fields than descr, fortran_order and shape")
    descr, fortran, shape = header["descr"], header["fortran_order"], header["shape"]
    if not isinstance(descr, str) or not _matches(_DTYPE, descr):
        raise CodecError("its .npy header names a dtype that is no plain data")
    sized = isinstance(shape, tuple) and len(shape) <= MAX_DIMENSIONS and all(type(each) is int and 0 <= each < 1 << 48 for each in shape)
    if not isinstance(fortran, bool) or not sized:
        raise CodecError("its .npy header has an impossible shape")
    return descr, fortran, shape, start + length


def _decode_array(data: bytes) -> Any:
    descr, fortran, shape, start = _npy_header(data)
    import numpy

    try:
        dtype = numpy.dtype(descr)
    except TypeError as exc:
        raise CodecError("its .npy header names a dtype that is not known here") from exc
    count = 1
    for each in shape:
        count *= each
    if dtype.itemsize == 0 or count * dtype.itemsize != len(data) - start:
        raise CodecError("its .npy header promises another size than came")
    flat = numpy.frombuffer(data, dtype=dtype, count=count, offset=start) if count else numpy.empty(0, dtype)
    return flat.reshape(shape, order="F" if fortran else "C").copy()


# -- pandas: a JSON header (4-byte length before it), then the columns one after another -----------------------------------------


def _encode_frame(value: Any) -> bytes:
    import json

    import pandas

    series = value.ndim == 1
    columns = [value] if series else [value.iloc[:, position] for position in range(value.shape[1])]
    names = [value.name] if series else list(value.columns)
    if isinstance(value.index, pandas.MultiIndex) or (not series and isinstance(value.columns, pandas.MultiIndex)):
        raise CodecError("it has an index of several levels; use .reset_index() or flatten the column names first")
    described, parts = [], []
    for name, column in zip(names, columns):  # noqa: B905 - Python 3.8 has no strict=
        kind, data, dtype = _encode_column(column, repr(name))
        described.append({"name": _label(name), "kind": kind, "bytes": len(data), "dtype": dtype})
        parts.append(data)
    header: dict[str, Any] = {"rows": len(value), "series": series, "columns": described, "index": None}
    index = value.index
    if not (isinstance(index, pandas.RangeIndex) and index.start == 0 and index.step == 1 and index.name is None):
        kind, data, dtype = _encode_column(index, "of the index")
        header["index"] = {"name": _label(index.name), "kind": kind, "bytes": len(data), "dtype": dtype}
        parts.append(data)
    text = json.dumps(header).encode("ascii")
    return len(text).to_bytes(4, "big") + text + b"".join(parts)


def _label(name: Any) -> Any:
    if name is None or isinstance(name, (str, bool, int, float)):
        return name
    if type(name).__module__ == "numpy":
        return name.item()
    raise CodecError(f"its column name {name!r} is of type {type(name).__name__}; use text or numbers")


def _encode_column(column: Any, name: str) -> tuple[str, bytes, str]:
    """(kind, data, pandas' own type or "")."""
    dtype = str(column.dtype)
    if dtype == "category":
        raise CodecError(f"its column {name} is categorical; use .astype(str) or .cat.codes")
    if _matches(_ZONED, dtype):
        import pandas

        return NPY, _encode_array(pandas.DatetimeIndex(column).tz_convert("UTC").tz_localize(None).to_numpy()), dtype
    values = column.to_numpy()
    own = dtype if dtype in _EXTENDED else ""
    if values.dtype.kind in _NUMERIC and (own or str(values.dtype) == dtype):
        return NPY, _encode_array(values), own
    if not own and dtype not in _OBJECTS:
        raise CodecError(f"its column {name} is of type {dtype}, which is no plain data; use .astype(str)")
    missing = column.isna()
    cells = [None if gone else each for each, gone in zip(values.tolist(), list(missing))]  # noqa: B905
    for each in cells:
        if each is not None and not isinstance(each, (str, bool, int, float)):
            raise CodecError(f"its column {name} holds {type(each).__name__}, which is no plain data; use text, numbers or plain dates")
    return JSON, _encode_json(cells), own


def _decode_frame(data: bytes) -> Any:
    header, start = _frame_header(data)
    import pandas

    described = header["columns"] + ([header["index"]] if header["index"] is not None else [])
    values = []
    for each in described:
        column = decode(each["kind"], data[start : start + each["bytes"]])
        start += each["bytes"]
        flat = isinstance(column, list) or getattr(column, "ndim", 0) == 1
        if not flat or len(column) != header["rows"]:
            raise CodecError("its columns have different lengths")
        if isinstance(column, list) and not all(cell is None or isinstance(cell, (str, bool, int, float)) for cell in column):
            raise CodecError("its columns hold more than plain cells")
        values.append(_typed(column, each["dtype"]))
    if start != len(data):
        raise CodecError("it has another size than its header says")
    index = pandas.RangeIndex(header["rows"])
    if header["index"] is not None:
        index = pandas.Index(values.pop(), name=header["index"]["name"])
    names = [each["name"] for each in header["columns"]]
    if header["series"]:
        return pandas.Series(values[0], index=index, name=names[0])
    frame = pandas.DataFrame(dict(enumerate(values)), index=index)
    frame.columns = pandas.Index(names, dtype=None if names else object)
    return frame


def _typed(column: Any, dtype: str) -> Any:
    """The column as pandas' own type, which is one of those that are listed here."""
    if not dtype:
        return column
    import pandas

    try:
        if dtype in _EXTENDED:
            return pandas.array(column, dtype=dtype)
        if isinstance(column, list) or column.dtype.kind != "M":
            raise ValueError("moments are dates")
        return pandas.DatetimeIndex(column).tz_localize("UTC").tz_convert(dtype.partition(", ")[2][:-1])
    except (ValueError, TypeError, KeyError, OverflowError, AttributeError, OSError) as exc:
        raise CodecError(f"its columns are not what they are said to be ({dtype})") from exc


def _frame_header(data: bytes) -> tuple[dict[str, Any], int]:
    length = int.from_bytes(data[:4], "big")
    header = _decode_json(data[4 : 4 + length]) if 0 < length <= len(data) - 4 else None
    if not isinstance(header, dict) or set(header) != {"rows", "series", "columns", "index"}:
        raise CodecError("it is no table")
    columns, index, rows = header["columns"], header["index"], header["rows"]
    listed = isinstance(columns, list) and len(columns) <= MAX_COLUMNS and (len(columns) == 1 or header["series"] is False)
    if not listed or type(rows) is not int or rows < 0 or not isinstance(header["series"], bool):
        raise CodecError("it is no table")
    for each in columns + ([index] if index is not None else []):
        whole = (
            isinstance(each, dict) and set(each) == {"name", "kind", "bytes", "dtype"} and type(each["bytes"]) is int and each["bytes"] >= 0
        )
        if whole and not (isinstance(each["dtype"], str) and (each["dtype"] in ("", *_EXTENDED) or _matches(_ZONED, each["dtype"]))):
            raise CodecError("it is a table with a column of a type that is not passed")
        if not whole or each["kind"] not in (NPY, JSON) or not (each["name"] is None or isinstance(each["name"], (str, int, float))):
            raise CodecError("it is a table with an impossible column")
    return header, 4 + length
