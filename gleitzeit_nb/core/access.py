"""How a server is approached: what proves who asks, whom TLS trusts, and by which way."""

from __future__ import annotations

from dataclasses import dataclass, replace


class Secret:
    """A string that never shows itself: `reveal()` is the only way to read it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    def __str__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return format("***", spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(("Secret", self._value))

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a Secret is not pickled: pass the name of the variable or of the keyring entry instead")


@dataclass(frozen=True)
class TlsSettings:
    """Files are absolute paths. `ca_file` None: the authorities that browsers trust. `client_key` None: it is in `client_cert`.

    `written_at`: when the files were written, in ns, so that a certificate that was renewed makes other settings.
    """

    ca_file: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    client_key_password: Secret | None = None
    verify: bool = True
    written_at: tuple[int, ...] = ()


@dataclass(frozen=True)
class ProxySettings:
    """`url` holds no user info: that is `basic_auth`, "user:password"."""

    url: str
    basic_auth: Secret | None = None


@dataclass(frozen=True, kw_only=True)
class AccessSettings:
    """The same for the whole pool and for one instance.

    `api_key` is sent as bearer, `basic_auth` ("user:password") as Basic; at most one of the two is set. Every value of `headers`
    counts as a secret, since any may be one.
    """

    api_key: Secret | None = None
    basic_auth: Secret | None = None
    headers: tuple[tuple[str, Secret], ...] = ()
    tls: TlsSettings = TlsSettings()
    proxy: ProxySettings | None = None

    @property
    def holds_keys(self) -> bool:
        """Does any request carry something that proves who asks?"""
        return self.api_key is not None or self.basic_auth is not None or bool(self.headers)

    def without_credentials(self) -> AccessSettings:
        """What may count for a server that nobody meant a key for: whom TLS trusts, and the way through a proxy."""
        tls = replace(self.tls, client_cert=None, client_key=None, client_key_password=None)
        return AccessSettings(tls=tls, proxy=self.proxy)
