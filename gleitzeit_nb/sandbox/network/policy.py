"""What one run may reach: its mode's configuration, and what the call or the cell says about it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gleitzeit_nb.core.allowlist import Rule, parse_rule
from gleitzeit_nb.core.execution import ExecutionRequest, ModeSettings
from gleitzeit_nb.core.network import NetworkKind, NetworkPolicy
from gleitzeit_nb.core.reachable import parse_range
from gleitzeit_nb.errors import ConfigError

MOST_RULES = 200


def network_kind(kind: object) -> NetworkKind | None:
    """A keyword's value. Raises ConfigError."""
    if kind is None or kind == "none" or kind == "restricted":
        return kind
    raise ConfigError(f"network must be 'none' or 'restricted', not {kind!r}: a sandbox is never given a whole network.")


def host_list(allow: object) -> tuple[str, ...]:
    """A keyword's value. Raises ConfigError; what each host means is seen later."""
    hosts = tuple(allow) if isinstance(allow, Iterable) and not isinstance(allow, str) else (None,)
    if not all(isinstance(each, str) for each in hosts):
        raise ConfigError("allow must be a list of hosts, such as ['example.org', 'example.org:8443'].")
    return hosts


def policy_for(mode: ModeSettings, request: ExecutionRequest) -> NetworkPolicy | None:
    """The run's policy; None for no network. What the run allows is added to what its mode allows, where that mode has a network.

    Addresses beyond the public internet are the configuration's alone. Raises ConfigError.
    """
    if request.network == "none" and request.allow:
        raise ConfigError("This run says network 'none' and allows hosts. Leave out one of the two.")
    kind = request.network or ("restricted" if request.allow else mode.network)
    if kind == "none":
        return None
    if mode.kind == "local":
        raise ConfigError(
            f"The mode {mode.id!r} isolates nothing, so its network cannot be restricted: the code reaches what this machine reaches. "
            "Use docker-sandbox or restricted."
        )
    texts = [*(mode.allow if mode.network == "restricted" else ()), *request.allow]
    private = tuple(map(parse_range, mode.allow_private))
    return NetworkPolicy(rules_of(texts), private, mode.network_limits)


def rules_of(texts: Sequence[str]) -> tuple[Rule, ...]:
    """Raises ConfigError for what is no rule."""
    if len(texts) > MOST_RULES:
        raise ConfigError(
            f"A run allows at most {MOST_RULES} hosts, and this one names {len(texts)}. Use *.example.org for many of one kind."
        )
    try:
        return tuple(dict.fromkeys(map(parse_rule, texts)))
    except ValueError as exc:
        raise ConfigError(f"{exc}. Examples: example.org, example.org:8443, *.example.org.") from None
