"""The keys of a mode's restricted network."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from gleitzeit_nb.config.section import UNSET, Count, Duration, Section, Size, as_list, keyed, or_empty
from gleitzeit_nb.core.allowlist import parse_rule
from gleitzeit_nb.core.network import MOST
from gleitzeit_nb.core.reachable import parse_range


def _kind(value: str) -> str:
    if value not in ("none", "restricted"):
        raise ValueError("should be none, or restricted to the hosts under allow: a sandbox is never given a whole network")
    return value


def _hosts(value: list[str]) -> tuple[str, ...]:
    return tuple(str(parse_rule(each)) for each in value)


def _ranges(value: list[str]) -> tuple[str, ...]:
    return tuple(str(parse_range(each)) for each in value)


class NetworkLimitsSection(Section):
    run_bytes: Annotated[Size, Field(le=MOST["run_bytes"])] = keyed("max_bytes")
    connection_bytes: Annotated[Size, Field(le=MOST["connection_bytes"])] = keyed("max_connection_bytes")
    connections: Annotated[Count, Field(le=MOST["connections"])] = keyed("max_connections")
    connections_total: Annotated[Count, Field(le=MOST["connections_total"])] = keyed("max_connections_total")
    connect_timeout_s: Annotated[Duration, Field(le=MOST["connect_timeout_s"])] = keyed("connect_timeout")
    idle_timeout_s: Annotated[Duration, Field(le=MOST["idle_timeout_s"])] = keyed("idle_timeout")


class NetworkFields(Section):
    network: Annotated[str, AfterValidator(_kind)] = UNSET
    allow: Annotated[list[str], AfterValidator(_hosts), BeforeValidator(as_list)] = UNSET
    allow_private: Annotated[list[str], AfterValidator(_ranges), BeforeValidator(as_list)] = UNSET
    network_limits: Annotated[NetworkLimitsSection, BeforeValidator(or_empty)] = UNSET

    def network_part(self) -> dict[str, Any]:
        """What was written of it, in the parts of core's ModeSettings."""
        written = self.written()
        part: dict[str, Any] = {name: written[name] for name in ("network", "allow", "allow_private") if name in written}
        if "network_limits" in written:
            part["network_limits"] = self.network_limits.written()
        return part
