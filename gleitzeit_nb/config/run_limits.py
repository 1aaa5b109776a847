"""The limits of one run: its mode's, with what the run itself asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from gleitzeit_nb.config.check import expectation, written_value
from gleitzeit_nb.config.limit_sections import LimitFields, refuse_exceeding
from gleitzeit_nb.core.run_limits import Limits
from gleitzeit_nb.errors import ConfigError


def run_limits(base: Limits, ceiling: Mapping[str, float], mode: str, own: Mapping[str, Any]) -> Limits:
    """The mode's limits with a run's own in their place, by the keys of the configuration; None means not given.

    Raises ConfigError for each that cannot be, or is more than the mode's ceiling.
    """
    given = {key: value for key, value in own.items() if value is not None}
    try:
        written = LimitFields.model_validate(given).written() if given else {}
    except ValidationError as exc:
        problems = [_problem(dict(error), given) for error in exc.errors(include_url=False)]
        raise ConfigError(f"This run cannot have its limits: {'; '.join(problems)}.") from None
    limits = replace(base, **written) if written else base
    refuse_exceeding(limits, ceiling, f"This run asks for more than the mode {mode!r} gives")
    return limits


def _problem(error: dict[str, Any], given: Mapping[str, Any]) -> str:
    key = str(error["loc"][0])
    return f"{key} {expectation(error)}{written_value(error['type'], (key,), given.get(key))}"
