"""TLS to instances: one context per distinct setting."""

from __future__ import annotations

import ssl
from functools import lru_cache

from gleitzeit_nb.config import load_client
from gleitzeit_nb.core.access import TlsSettings
from gleitzeit_nb.errors import ConfigError


def tls_context(tls: TlsSettings) -> ssl.SSLContext:
    """Shared by all that have the same settings: reading the certificates of all authorities takes some 30 ms.

    Raises ConfigError when a file is no longer what it was when the settings were made.
    """
    try:
        return _context(tls)
    except OSError as exc:  # SSLError is one
        files = ", ".join(filter(None, (tls.ca_file, tls.client_cert, tls.client_key)))
        reason = getattr(exc, "reason", None) or exc.strerror or type(exc).__name__
        raise ConfigError(f"the certificate files {files} cannot be used any more ({reason}). Put them right, then reload") from None


@lru_cache(maxsize=1)
def no_tls() -> ssl.SSLContext:
    """For plain http: trusts nobody, so that a way to https would fail instead of going unchecked."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@lru_cache(maxsize=32)
def _context(tls: TlsSettings) -> ssl.SSLContext:
    """Made by hand: `ssl.create_default_context` would obey SSLKEYLOGFILE of the environment, and write session keys to it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # checks certificates and names
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif tls.ca_file is not None:
        context.load_verify_locations(cafile=tls.ca_file)
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # an authority below the root may be named, or the server's own certificate
    else:
        import certifi

        context.load_verify_locations(cafile=certifi.where())
    load_client(context, tls)
    return context
