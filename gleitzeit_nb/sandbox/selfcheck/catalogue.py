"""All checks, in the order in which they are run and shown."""

from __future__ import annotations

from gleitzeit_nb.sandbox.selfcheck import (
    allowed_hosts,
    between_runs,
    environment,
    files,
    guest,
    namespaces,
    network,
    output,
    own_limits,
    privileges,
    resources,
    results,
    sessions,
    system_calls,
    volumes,
)
from gleitzeit_nb.sandbox.selfcheck.check import Area, Check

AREAS: tuple[Area, ...] = (
    network.AREA,
    allowed_hosts.AREA,
    files.AREA,
    privileges.AREA,
    system_calls.AREA,
    namespaces.AREA,
    guest.AREA,
    resources.AREA,
    own_limits.AREA,
    volumes.AREA,
    output.AREA,
    results.AREA,
    between_runs.AREA,
    sessions.AREA,
    environment.AREA,
)
CHECKS: tuple[Check, ...] = tuple(check for area in AREAS for check in area.checks)
