"""How servers are approached, from what was written: an instance's own keys over those of the pool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from gleitzeit_nb.config.access_sections import AccessFields, TlsSection
from gleitzeit_nb.config.certificates import check_tls
from gleitzeit_nb.config.check import Checked
from gleitzeit_nb.config.credentials import Kind, read_key, warn, warn_literal
from gleitzeit_nb.config.layers import Key, Layer
from gleitzeit_nb.config.values import Address, parse_address
from gleitzeit_nb.core.access import AccessSettings, ProxySettings, Secret, TlsSettings
from gleitzeit_nb.core.addresses import is_loopback
from gleitzeit_nb.errors import ConfigError

AUTHORIZATION = "authorization"
CREDENTIALS = ("api_key", "basic_auth", "headers")
CLIENT_KEYS = ("client_cert", "client_key", "client_key_password")
_PROXY_EXPECTED = "expected one such as http://proxy.example.com:3128"


@dataclass(frozen=True)
class Written:
    """One section's keys of access, and where they stand. `owner` is what messages call it: "of instance 'gpu'"."""

    section: AccessFields
    layer: Layer
    path: Key
    owner: str
    environ: Mapping[str, str]

    def has(self, key: str) -> bool:
        return key in self.section.model_fields_set

    def name(self, *keys: str) -> str:
        """How a message about a key begins: its place, and whose it is."""
        first = next((alias for alias in self._aliases(keys[0]) if (*self.path, alias) in self.layer.places), keys[0])
        return f"{self.layer.place((*self.path, first, *keys[1:]))}: {'.'.join((first, *keys[1:]))} {self.owner}"

    def _aliases(self, field: str) -> list[str]:
        return [alias for alias, name in self.section.keys().items() if name == field]

    def secret(self, value: str | Secret | None, name: str, kind: Kind = "header") -> Secret | None:
        return None if value is None else read_key(value, name=name, environ=self.environ, kind=kind)


def pool_access(layers: Sequence[Checked], lister: Checked | None, environ: Mapping[str, str]) -> tuple[AccessSettings, AccessSettings]:
    """(what counts for every server, what counts for the instances that `lister` lists).

    Whom TLS trusts, and a proxy, are laid over each other as all settings are. What proves who asks goes only to the instances that
    the same layer lists: a key must not reach a server that was written down elsewhere, for another purpose.
    """
    general, listed = AccessSettings(), AccessSettings()
    for one in layers:
        section, path = one.root.section("ollama")
        if section is None:
            continue
        written = Written(section, one.layer, path, "of the pool", environ)
        merged = _general(written, general)
        if one is lister:
            listed = replace(_proofs(written, None, AccessSettings()), tls=merged.tls)
        else:
            _warn_of_unused(written, lister)
        general = merged.without_credentials()
    if lister is not None and not lister.layer.trusted:
        return general, replace(general, tls=replace(general.tls, verify=True))
    client = {key: getattr(listed.tls, key) for key in CLIENT_KEYS}
    return general, replace(listed, tls=replace(general.tls, **client), proxy=general.proxy)


def instance_access(written: Written, address: Address, pool: AccessSettings) -> AccessSettings:
    """What counts for one instance: its own keys over the pool's, mapping by mapping."""
    if written.has("tls") and written.section.tls.model_fields_set and not address.url.startswith("https:"):
        raise ConfigError(f"{written.name('tls')}: its url begins with http://, where there is no TLS. Write https://, or leave tls out")
    general = _general(written, suited(pool, address.url))
    return replace(_proofs(written, address.user_info, pool), tls=general.tls, proxy=general.proxy)


def suited(pool: AccessSettings, url: str) -> AccessSettings:
    """What of the pool's counts at that address: no TLS where there is none, and no proxy on the way to this machine itself."""
    tls = pool.tls if url.startswith("https:") else TlsSettings()
    return replace(pool, tls=tls, proxy=None if is_loopback(url) else pool.proxy)


# -- what proves who asks -----------------------------------------------------------------------------------------------------


def _proofs(written: Written, user_info: Secret | None, below: AccessSettings) -> AccessSettings:
    """Key or pair, and headers. There is one Authorization: whoever writes a way replaces the one below."""
    headers = {name.lower(): (name, value) for name, value in below.headers}
    own = _own_headers(written)
    api_key = written.secret(written.section.api_key, written.name("api_key")) if written.has("api_key") else None
    basic = _basic(written) if written.has("basic_auth") else None
    ways = {"api_key": api_key, "basic_auth": basic, "its url's user info": user_info, "the header Authorization": own.get(AUTHORIZATION)}
    given = [way for way, value in ways.items() if value is not None]
    if len(given) > 1:
        field = next(key for key in ("api_key", "basic_auth", "headers") if written.has(key))
        raise ConfigError(f"{written.name(field)}: {' and '.join(given)} are both given, and one request has one Authorization. Keep one")
    if given or written.has("api_key") or written.has("basic_auth") or AUTHORIZATION in own:
        headers.pop(AUTHORIZATION, None)
    else:
        api_key, basic = below.api_key, below.basic_auth
    headers.update({key: pair for key, pair in own.items() if pair is not None})
    kept = tuple(pair for key, pair in headers.items() if own.get(key, pair) is not None)
    return AccessSettings(api_key=api_key, basic_auth=basic or user_info, headers=kept)


def _own_headers(written: Written) -> dict[str, tuple[str, Secret] | None]:
    """By the lower-case name; None: the pool's is left out here."""
    found: dict[str, tuple[str, Secret] | None] = {}
    for name, value in (written.section.headers if written.has("headers") else {}).items():
        secret = written.secret(value, written.name("headers", name))
        found[name.lower()] = None if secret is None else (name, secret)
    return found


def _basic(written: Written) -> Secret | None:
    return written.secret(written.section.basic_auth, written.name("basic_auth"), "user and password")


def _warn_of_unused(written: Written, lister: Checked | None) -> None:
    unused = [key for key in CREDENTIALS if written.has(key) and getattr(written.section, key)]
    if written.has("tls"):
        unused += [f"tls.{key}" for key in CLIENT_KEYS if getattr(written.section.tls, key)]
    if unused:
        what = f"the instances in use are listed by {lister.layer.origin}" if lister is not None else "no instances are listed"
        warn(f"{written.name(*unused[0].split('.'))} counts for the instances that are listed beside it, but {what}. Write it there")


# -- whom TLS trusts, and by which way ------------------------------------------------------------------------------------------


def _general(written: Written, below: AccessSettings) -> AccessSettings:
    tls = _tls(written, written.section.tls, below.tls) if written.has("tls") else below.tls
    proxy = _proxy(written) if written.has("proxy") else below.proxy
    return AccessSettings(tls=tls, proxy=proxy)


def _tls(written: Written, section: TlsSection, below: TlsSettings) -> TlsSettings:
    own = section.written()
    if own.get("client_cert") is None and any(own.get(key) is not None for key in CLIENT_KEYS[1:]) and below.client_cert is None:
        raise ConfigError(f"{written.name('tls')} names a client_key or its password, but no client_cert that they belong to")
    if own.get("verify") is False and own.get("ca_file") is not None:
        raise ConfigError(f"{written.name('tls', 'verify')} is false, so that its ca_file would do nothing. Leave out one of the two")
    changes: dict[str, Any] = dict.fromkeys(CLIENT_KEYS) if "client_cert" in own else {}
    for key in ("ca_file", "client_cert", "client_key"):
        if key in own:
            changes[key] = _path(written, own[key], key)
    if "client_key_password" in own:
        changes["client_key_password"] = written.secret(own["client_key_password"], written.name("tls", "client_key_password"), "text")
    if "verify" in own:
        changes["verify"] = own["verify"]
    found = replace(below, **changes)
    if own.get("verify") is False:
        name = written.name("tls", "verify")
        warn(f"{name} is false: whoever is on the way can read and change everything, keys included. Name the server's authority: ca_file")
    found = found if found.verify else replace(found, ca_file=None)
    written_at = check_tls(found, lambda key: written.name("tls", key), datetime.now(timezone.utc))
    return replace(found, written_at=written_at)


def _path(written: Written, text: str | None, key: str) -> str | None:
    """Absolute: relative to the folder of the file that says so. Never to the working directory, which may be a stranger's."""
    if text is None:
        return None
    try:
        path = Path(text).expanduser()
    except RuntimeError:
        raise ConfigError(f"{written.name('tls', key)}: no home directory is known for {text[:80]!r}") from None
    if path.is_absolute():
        return str(path)
    if written.layer.folder is None:
        raise ConfigError(f"{written.name('tls', key)} should be an absolute path: outside a file there is nothing that it is relative to")
    return str(written.layer.folder / path)


def _proxy(written: Written) -> ProxySettings | None:
    value, name = written.section.proxy, written.name("proxy")
    if value is None:
        return None
    named = isinstance(value, Secret) or value.startswith(("env:", "keyring:"))
    text = read_key(value, name=name, environ=written.environ, kind="text").reveal() if named else value
    if not text.startswith("http://"):
        raise ConfigError(f"{name} should be a proxy that is spoken to in plain HTTP: {_PROXY_EXPECTED}")
    try:
        address = parse_address(text)
    except ConfigError as exc:
        raise ConfigError(f"{name}: {exc}") from None
    if address.url.count("/") > 2:
        raise ConfigError(f"{name} should hold no path: {_PROXY_EXPECTED}")
    if address.user_info is not None and not named:
        warn_literal(f"{name}: its user info")
    return ProxySettings(address.url, address.user_info)
