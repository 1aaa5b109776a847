"""Certificate files, looked at when the configuration is made: what is wrong with one is said here, not by a failed request."""

from __future__ import annotations

import contextlib
import os
import re
import ssl
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path

from gleitzeit_nb.config.files import read_file
from gleitzeit_nb.core.access import TlsSettings
from gleitzeit_nb.errors import ConfigError

MAX_PEM_BYTES = 4 << 20
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_SEQUENCE, _INTEGER, _UTC_TIME, _GENERALIZED_TIME, _VERSION = 0x30, 0x02, 0x17, 0x18, 0xA0
_ENCRYPTED = ("-----BEGIN ENCRYPTED PRIVATE KEY-----", "Proc-Type: 4,ENCRYPTED")

Place = Callable[[str], str]


def check_tls(tls: TlsSettings, place: Place, now: datetime) -> tuple[int, ...]:
    """When each file was written. Raises ConfigError for one that cannot be read, holds something else, is out of date or does not fit
    its key. `place` says for a key of the tls section how a message about it begins.
    """
    files = [path for path in (tls.ca_file, tls.client_cert, tls.client_key) if path is not None]
    if tls.ca_file is not None:
        _check_authorities(Path(tls.ca_file), place("ca_file"), now)
    if tls.client_cert is not None:
        _check_client(tls, place, now)
    return tuple(os.stat(path).st_mtime_ns for path in files)


def _check_authorities(path: Path, name: str, now: datetime) -> None:
    periods = [period for _, period in _certificates(path, name)]
    if not any(begin <= now <= end for begin, end in periods):
        raise ConfigError(f"{name}: every certificate in {path} is out of date ({_told(*periods[-1], now)}). Fetch the authority's new one")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=str(path))
    except (ssl.SSLError, OSError) as exc:
        raise ConfigError(f"{name}: {path} holds a certificate that OpenSSL does not take ({_reason(exc)})") from None


def _check_client(tls: TlsSettings, place: Place, now: datetime) -> None:
    certificate, name = Path(tls.client_cert or ""), place("client_cert")
    _, (begin, end) = next(iter(_certificates(certificate, name)))
    if not begin <= now <= end:
        raise ConfigError(f"{name}: the certificate in {certificate} is out of date ({_told(begin, end, now)}). Have it issued anew")
    key = Path(tls.client_key or certificate)
    key_name = place("client_key") if tls.client_key else name
    text = _text(key, key_name)
    if "PRIVATE KEY-----" not in text:
        more = "" if tls.client_key else ". Name the file of its key as client_key"
        raise ConfigError(f"{key_name}: {key} holds no private key in PEM form{more}")
    encrypted = any(mark in text for mark in _ENCRYPTED)
    if encrypted and tls.client_key_password is None:
        raise ConfigError(f"{key_name}: the key in {key} is encrypted. Name its password: client_key_password: env:NAME")
    try:
        load_client(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), tls)
    except (ssl.SSLError, OSError) as exc:
        reason = _reason(exc)
        if "MISMATCH" in reason:
            raise ConfigError(f"{key_name}: the key in {key} does not belong to the certificate in {certificate}") from None
        if encrypted:
            password = place("client_key_password")
            raise ConfigError(f"{password}: the key in {key} cannot be opened with this password ({reason})") from None
        raise ConfigError(f"{key_name}: {certificate} and {key} cannot be used together ({reason})") from None


def days_left(tls: TlsSettings) -> dict[str, int]:
    """By file, until what counts in it is out of date: the client's certificate, the last of the authorities. Without what is gone."""
    now, found = datetime.now(timezone.utc), {}
    for path, last in ((tls.client_cert, False), (tls.ca_file, True)):
        if path is not None:
            with contextlib.suppress(ConfigError):
                ends = [end for _, (_, end) in _certificates(Path(path), path)]
                found[path] = ((max(ends) if last else ends[0]) - now).days
    return found


def load_client(context: ssl.SSLContext, tls: TlsSettings) -> None:
    """The client's certificate into `context`. Without a password OpenSSL would ask for one at the terminal: here it gets an empty one."""
    if tls.client_cert is not None:
        password = tls.client_key_password.reveal() if tls.client_key_password is not None else ""
        context.load_cert_chain(tls.client_cert, tls.client_key, password=lambda: password)


def _certificates(path: Path, name: str) -> list[tuple[str, tuple[datetime, datetime]]]:
    """(PEM text, (valid from, valid until)) of each certificate in the file; at least one."""
    blocks = _CERTIFICATE.findall(_text(path, name))
    if not blocks:
        raise ConfigError(f"{name}: {path} holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)")
    try:
        return [(block, validity(ssl.PEM_cert_to_DER_cert(block))) for block in blocks]
    except ValueError:  # binascii's and ours
        raise ConfigError(f"{name}: a certificate in {path} is damaged and cannot be read") from None


def _text(path: Path, name: str) -> str:
    return read_file(path, f"{name}: {path}", MAX_PEM_BYTES).decode("ascii", "replace")


def _told(begin: datetime, end: datetime, now: datetime) -> str:
    return f"it is valid from {begin:%Y-%m-%d} on" if now < begin else f"it was valid until {end:%Y-%m-%d}"


def _reason(exc: Exception) -> str:
    return str(getattr(exc, "reason", None) or getattr(exc, "strerror", None) or type(exc).__name__)


# -- as much of X.509 as a date takes: the standard library reads no period of validity out of a file --------------------------------


def validity(der: bytes) -> tuple[datetime, datetime]:
    """(from, until) of one certificate. Raises ValueError for what is none. RFC 5280, section 4.1."""
    certificate = _content(der, _SEQUENCE)
    fields = list(_elements(_content(certificate, _SEQUENCE)))
    if fields and fields[0][0] == _VERSION:
        fields = fields[1:]
    if len(fields) < 4 or fields[0][0] != _INTEGER or fields[3][0] != _SEQUENCE:  # serial, algorithm, issuer, validity
        raise ValueError("not a certificate")
    times = [_time(tag, content) for tag, content in _elements(fields[3][1])]
    if len(times) != 2:
        raise ValueError("not a period")
    return times[0], times[1]


def _content(data: bytes, tag: int) -> bytes:
    first = next(_elements(data), None)
    if first is None or first[0] != tag:
        raise ValueError("not what was expected")
    return first[1]


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(tag, content) one after the other."""
    at = 0
    while at < len(data):
        if at + 2 > len(data):
            raise ValueError("cut off")
        tag, length, at = data[at], data[at + 1], at + 2
        if length & 0x80:
            size = length & 0x7F
            if not 1 <= size <= 4 or at + size > len(data):
                raise ValueError("a length that no certificate has")
            length, at = int.from_bytes(data[at : at + size], "big"), at + size
        if at + length > len(data):
            raise ValueError("cut off")
        yield tag, data[at : at + length]
        at += length


def _time(tag: int, content: bytes) -> datetime:
    if tag not in (_UTC_TIME, _GENERALIZED_TIME):
        raise ValueError("not a time")
    text = content.decode("ascii", "replace")
    if tag == _UTC_TIME:  # two digits: 50 to 99 are of the last century
        text = f"{'19' if text[:2] >= '50' else '20'}{text}"
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=timezone.utc)
