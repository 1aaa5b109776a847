"""The option `--strategy`, and the list of what it takes."""

from __future__ import annotations

import argparse

from gleitzeit_nb.core.strategies import STRATEGIES, strategy_named
from gleitzeit_nb.errors import ConfigError


def strategy(text: str) -> str:
    """The name of a strategy, for argparse."""
    try:
        strategy_named(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def strategies_text() -> str:
    """All of them, a line each."""
    width = max(map(len, STRATEGIES))
    return "\nstrategies:\n" + "\n".join(f"  {name:<{width}}  {each.doc}" for name, each in STRATEGIES.items())
