"""What `%config GleitzeitNB` shows and sets, and what an IPython configuration file may set for every notebook."""

from __future__ import annotations

from typing import Any

from traitlets import Bool, TraitError, Unicode, validate
from traitlets.config import Configurable

from gleitzeit_nb.core.strategies import strategy_named
from gleitzeit_nb.core.threads import NAME_RULE, is_name
from gleitzeit_nb.errors import ConfigError

MODEL_CHARS = 200


class GleitzeitNB(Configurable):
    """Settings of the magics in this kernel. Instances and sandboxes are configured elsewhere: see `%gleitzeit config`."""

    model = Unicode("", help="The model of %%llm when no -m is given. Empty: the configured default model.").tag(config=True)
    strategy = Unicode("", help="The strategy that picks the instance. Empty: the configured one.").tag(config=True)
    stream = Bool(
        None, allow_none=True, help="Show answers as they arrive. None: as configured (GLEITZEIT_NB_STREAM=0 switches it off)."
    ).tag(config=True)
    cache = Bool(None, allow_none=True, help="Take answers from this machine's cache, and keep them there. None: as configured.").tag(
        config=True
    )
    thread = Unicode("", help="The conversation that %%llm cells go on with when no --thread is given. Empty: each stands alone.").tag(
        config=True
    )
    debug = Bool(False, help="Show the whole trace of expected errors.").tag(config=True)

    @validate("strategy")
    def _known_strategy(self, proposal: Any) -> str:
        """Refused where it is set, not at the next cell."""
        name = str(proposal["value"])
        try:
            if name:
                strategy_named(name)
        except ConfigError as error:
            raise TraitError(f"GleitzeitNB.strategy: {error}") from None
        return name

    @validate("thread")
    def _a_thread(self, proposal: Any) -> str:
        name = str(proposal["value"])
        if name and not is_name(name):
            raise TraitError(f"GleitzeitNB.thread should be {NAME_RULE}; or empty")
        return name

    @validate("model")
    def _a_name(self, proposal: Any) -> str:
        name = str(proposal["value"]).strip()
        if len(name) > MODEL_CHARS or not name.isprintable():
            raise TraitError(f"GleitzeitNB.model should be the name of a model: at most {MODEL_CHARS} characters, on one line")
        return name
