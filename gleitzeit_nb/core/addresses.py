"""Where an address leads. Pure: no name is looked up."""

from __future__ import annotations

import ipaddress
import re

_HOST = re.compile(r"[a-z]+://(?:[^/?#]*@)?(\[[^\]]*\]|[^/?#:]*)", re.IGNORECASE)


def is_loopback(url: str) -> bool:
    """Whether what is sent there stays on this machine, as far as an address can tell."""
    match = _HOST.match(url)
    host = match[1].strip("[]").rstrip(".").lower() if match else ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
