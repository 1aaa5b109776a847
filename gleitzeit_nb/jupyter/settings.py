"""What `%config GleitzeitNB` shows and sets, and what an IPython configuration file may set for every notebook."""

from __future__ import annotations

import sys
from typing import Any

from traitlets import Bool, Float, List, TraitError, Unicode, validate
from traitlets.config import Config, Configurable

from gleitzeit_nb.core.plain import one_line
from gleitzeit_nb.core.strategy_names import LoadBalancingStrategy
from gleitzeit_nb.errors import ConfigError
from gleitzeit_nb.jupyter.arguments import comma_list

NAME_CHARS = 200


class GleitzeitNB(Configurable):
    """Settings of the magics in this kernel. Instances and sandboxes are configured elsewhere: see `%gleitzeit config`.

    `offers` and `words` of a trait are for Tab, as an option's are.
    """

    model = Unicode("", help="The model of %%llm when no -m is given. Empty: the configured default model.").tag(
        config=True, offers="model"
    )
    tags = List(Unicode(), help="Tags that an instance must have when %%llm gives no -t, such as 'gpu,vision'.").tag(
        config=True, offers="tag"
    )
    strategy = Unicode("", help="The strategy that picks the instance. Empty: the configured one.").tag(
        config=True, words=tuple(map(str, LoadBalancingStrategy))
    )
    deadline = Float(
        None, allow_none=True, help="Seconds that a %%llm cell may take in all when no --deadline is given. None: any time."
    ).tag(config=True)
    stream = Bool(
        None, allow_none=True, help="Show answers as they arrive. None: as configured (GLEITZEIT_NB_STREAM=0 switches it off)."
    ).tag(config=True)
    cache = Bool(None, allow_none=True, help="Take answers from this machine's cache, and keep them there. None: as configured.").tag(
        config=True
    )
    thread = Unicode("", help="The conversation that %%llm cells go on with when no --thread is given. Empty: each stands alone.").tag(
        config=True, offers="thread"
    )
    mode = Unicode("", help="The mode of %%sandbox, and of %%llm --run, when none is given. Empty: the configured one.").tag(
        config=True, offers="mode"
    )
    timeout = Float(
        None, allow_none=True, help="Seconds that %%sandbox lets code run when no --timeout is given. None: as the mode says."
    ).tag(config=True)
    debug = Bool(False, help="Show the whole trace of expected errors.").tag(config=True)

    @classmethod
    def of(cls, shell: Configurable) -> GleitzeitNB:
        """As the shell's configuration says. What cannot be used of it is told in a line, and the rest is used."""
        try:
            return cls(parent=shell)
        except TraitError:
            settings = cls()
        for name, value in shell.config[cls.__name__].items():
            try:
                settings.update_config(Config({cls.__name__: {name: value}}))
            except TraitError as error:
                print(f"A setting of your IPython configuration is not used: {one_line(str(error), 400)}", file=sys.stderr)  # noqa: T201
        return settings

    @validate("deadline", "timeout")
    def _some_time(self, proposal: Any) -> float | None:
        seconds: float | None = proposal["value"]
        if seconds is not None and not 0 < seconds < float("inf"):
            raise TraitError(f"GleitzeitNB.{proposal['trait'].name} should be a number of seconds greater than 0, or None; not {seconds!r}")
        return seconds

    @validate("tags")
    def _plain_tags(self, proposal: Any) -> list[str]:
        """As `-t` takes them: in one text, or one by one."""
        tags = [tag for text in proposal["value"] for tag in comma_list(text)]
        if not all(tag.isprintable() for tag in tags):
            raise TraitError("GleitzeitNB.tags should be tags, each one word that can be printed")
        return tags

    @validate("strategy")
    def _known_strategy(self, proposal: Any) -> str:
        """Refused where it is set, not at the next cell."""
        from gleitzeit_nb.core.strategies import strategy_named

        name = str(proposal["value"])
        try:
            if name:
                strategy_named(name)
        except ConfigError as error:
            raise TraitError(f"GleitzeitNB.strategy: {error}") from None
        return name

    @validate("thread")
    def _a_thread(self, proposal: Any) -> str:
        from gleitzeit_nb.core.threads import NAME_RULE, is_name

        name = str(proposal["value"])
        if name and not is_name(name):
            raise TraitError(f"GleitzeitNB.thread should be {NAME_RULE}; or empty")
        return name

    @validate("model", "mode")
    def _a_name(self, proposal: Any) -> str:
        name, what = str(proposal["value"]).strip(), proposal["trait"].name
        if len(name) > NAME_CHARS or not name.isprintable():
            raise TraitError(f"GleitzeitNB.{what} should be the name of a {what}: at most {NAME_CHARS} characters, on one line")
        return name
