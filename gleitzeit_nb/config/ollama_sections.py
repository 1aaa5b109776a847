"""The keys of the pool: the section `ollama` and what stands in it."""

from __future__ import annotations

from pathlib import PureWindowsPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator

from gleitzeit_nb.config.access_sections import AccessFields
from gleitzeit_nb.config.instance_sections import InstanceSection, each_once
from gleitzeit_nb.config.section import UNSET, Count, Duration, FileName, Name, Names, Section, Size, as_list, keyed, or_empty
from gleitzeit_nb.core.aliases import Alias, aliases_of
from gleitzeit_nb.core.keep_alive import KeepAlive, seconds
from gleitzeit_nb.core.models import canonical
from gleitzeit_nb.core.strategies import STRATEGIES, nearest_strategy


def _strategy(value: str) -> str:
    if value not in STRATEGIES:
        near = nearest_strategy(value)
        raise ValueError(f"should be one of {', '.join(STRATEGIES)}" + (f"; did you mean {near!r}?" if near else ""))
    return value


def _keep_alive(value: object) -> KeepAlive:
    """One time for every model, or times by the names of models and `default`."""
    if value is None:
        return KeepAlive()
    if not isinstance(value, dict):
        return KeepAlive(seconds(value))
    times = {str(name): seconds(each) for name, each in value.items()}
    default_s = times.pop("default", None)
    return KeepAlive(default_s, {canonical(name): each for name, each in times.items()})


SINGLE = ("aliases", "default_model", "keep_alive", "preload", "record", "replay", "require_tags", "share_slots")
"""Settings of the pool that are one value, without a section of their own."""


class BreakerSection(Section):
    failure_threshold: Count = UNSET
    recovery_timeout_s: Duration = keyed("recovery_timeout")
    half_open_requests: Count = UNSET
    first_ejection_s: Duration = keyed("first_ejection")


class BalancingSection(Section):
    strategy: Annotated[str, AfterValidator(_strategy)] = UNSET
    failover: bool = UNSET
    retry_attempts: int = Field(default=UNSET, ge=0, le=100)
    health_check_interval_s: Duration = keyed("health_check_interval")
    breaker: Annotated[BreakerSection, BeforeValidator(or_empty)] = keyed("circuit_breaker")


class QueueSection(Section):
    max_queue: Count = UNSET
    queue_timeout_s: Duration | None = keyed("queue_timeout")


class TimeoutSection(Section):
    connect_s: Duration = keyed("connect")
    first_token_warm_s: Duration | None = keyed("first_token_warm")
    first_token_cold_s: Duration | None = keyed("first_token_cold")
    between_tokens_s: Duration = keyed("between_tokens")


def _own_place(value: str) -> str:
    """A file beside whatever the working directory is would lie somewhere else in every notebook."""
    if not value.startswith(("/", "~")) and not PureWindowsPath(value).is_absolute():
        raise ValueError("should be an absolute path, or one that begins with ~")
    return value


class ReceiptSection(Section):
    file: Annotated[Name, AfterValidator(_own_place)] | None = UNSET
    prompts: bool = UNSET
    max_bytes: Size = keyed("max_size")
    keep: int = Field(default=UNSET, ge=0, le=1000)


class CacheSection(Section):
    enabled: bool = UNSET
    max_bytes: Size = keyed("max_size")


class OllamaSection(AccessFields):
    type: Literal["ollama", "ollama_pool"] = UNSET
    instances: Annotated[list[InstanceSection], BeforeValidator(as_list), AfterValidator(each_once)] = UNSET
    balancing: Annotated[BalancingSection, BeforeValidator(or_empty)] = keyed("load_balancing")
    health_check_interval_s: Duration = keyed("health_check_interval")
    breaker: Annotated[BreakerSection, BeforeValidator(or_empty)] = keyed("circuit_breaker", "circuit_breaker_config")
    admission: Annotated[QueueSection, BeforeValidator(or_empty)] = keyed("queue")
    timeouts: Annotated[TimeoutSection, BeforeValidator(or_empty)] = UNSET
    default_model: Name | None = keyed("default_model", "model")
    keep_alive: Annotated[KeepAlive, PlainValidator(_keep_alive)] = UNSET
    preload: Names = UNSET
    require_tags: Names = UNSET
    aliases: Annotated[dict[str, Alias], PlainValidator(aliases_of)] = UNSET
    cache: Annotated[CacheSection, BeforeValidator(or_empty)] = UNSET
    record: FileName = UNSET
    replay: FileName = UNSET
    share_slots: bool = UNSET
    receipts: Annotated[ReceiptSection, BeforeValidator(or_empty)] = UNSET

    def partial(self) -> dict[str, Any]:
        """What was written, in the parts of core's PoolSettings; the outer of two places for a setting beats the inner."""
        written = self.written()
        balancing = written["balancing"].written() if "balancing" in written else {}
        breaker = balancing.pop("breaker").written() if "breaker" in balancing else {}
        breaker |= written["breaker"].written() if "breaker" in written else {}
        if "health_check_interval_s" in written:
            balancing["health_check_interval_s"] = written["health_check_interval_s"]
        parts: dict[str, Any] = {"balancing": balancing, "breaker": breaker}
        parts |= {name: written[name].written() for name in ("admission", "cache", "timeouts", "receipts") if name in written}
        parts |= {name: written[name] for name in ("instances", *SINGLE) if name in written}
        return {name: part for name, part in parts.items() if part != {}}
