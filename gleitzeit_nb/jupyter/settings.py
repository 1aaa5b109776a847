"""What `%config GleitzeitNB` shows and sets, and what an IPython configuration file may set for every notebook."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence
from typing import Any

from traitlets import Bool, Float, List, TraitError, Unicode, validate
from traitlets.config import Config, Configurable

from gleitzeit_nb.core.plain import one_line
from gleitzeit_nb.core.strategy_names import LoadBalancingStrategy
from gleitzeit_nb.errors import ConfigError
from gleitzeit_nb.jupyter.arguments import comma_list
from gleitzeit_nb.jupyter.failures import in_bold

NAME_CHARS = 200
PROBLEM_CHARS = 300
STRATEGIES = tuple(map(str, LoadBalancingStrategy))


class SettingError(BaseException):
    """A setting that is refused: why, and what may be set instead.

    No Exception, because `%config` only logs those: the cell would go on as if it had been set.
    """

    def __init__(self, problem: str, takes: str, *more: str) -> None:
        self.problem = one_line(problem, PROBLEM_CHARS)
        self.takes = takes
        self._more = more
        super().__init__("\n".join((self.problem, takes, *more)))

    def _render_traceback_(self) -> list[str]:
        last = ". ".join((*self._more, "All settings: %config GleitzeitNB"))
        return in_bold([f"SettingError: {self.problem}", self.takes, last])


class GleitzeitNB(Configurable):
    """Settings of the magics in this kernel. Instances and sandboxes are configured elsewhere: see `%gleitzeit config`.

    `offers` and `words` of a trait are for Tab, as an option's are.
    """

    model = Unicode("", help="The model of %%llm when no -m is given. Empty: the configured default model.").tag(
        config=True, offers="model", takes="a model's name, or '' for the configured one"
    )
    tags = List(Unicode(), help="Tags that an instance must have when %%llm gives no -t, such as 'gpu,vision'.").tag(
        config=True, offers="tag", takes="tags, as 'gpu,vision' or ['gpu', 'vision'], or [] for none"
    )
    strategy = Unicode("", help="The strategy that picks the instance. Empty: the configured one.").tag(
        config=True, words=STRATEGIES, takes=f"{', '.join(STRATEGIES)}, or '' for the configured one"
    )
    deadline = Float(
        None, allow_none=True, help="Seconds that a %%llm cell may take in all when no --deadline is given. None: any time."
    ).tag(config=True, takes="seconds, such as 30, or None for any time")
    stream = Bool(
        None, allow_none=True, help="Show answers as they arrive. None: as configured (GLEITZEIT_NB_STREAM=0 switches it off)."
    ).tag(config=True, takes="True, False, or None for what is configured")
    cache = Bool(None, allow_none=True, help="Take answers from this machine's cache, and keep them there. None: as configured.").tag(
        config=True, takes="True, False, or None for what is configured"
    )
    thread = Unicode("", help="The conversation that %%llm cells go on with when no --thread is given. Empty: each stands alone.").tag(
        config=True, offers="thread", takes="a name of letters, digits, dots, dashes and underscores, or '' for none"
    )
    mode = Unicode("", help="The mode of %%sandbox, and of %%llm --run, when none is given. Empty: the configured one.").tag(
        config=True, offers="mode", takes="a mode's name, or '' for the configured one"
    )
    timeout = Float(
        None, allow_none=True, help="Seconds that %%sandbox lets code run when no --timeout is given. None: as the mode says."
    ).tag(config=True, takes="seconds, such as 30, or None for what the mode says")
    debug = Bool(False, help="Show the whole trace of expected errors.").tag(config=True, takes="True or False")

    @classmethod
    def of(cls, shell: Configurable) -> GleitzeitNB:
        """As the shell's configuration says. What cannot be used of it is told in a line, and the rest is used."""
        settings = cls()
        for name, value in shell.config.get(cls.__name__, {}).items():
            try:
                settings.update_config(Config({cls.__name__: {name: value}}))
            except SettingError as error:
                print(f"A setting of your IPython configuration is not used: {error.problem}. {error.takes}", file=sys.stderr)  # noqa: T201
        return settings

    def update_config(self, config: Config) -> None:
        """What `%config` calls. Raises SettingError, and then leaves the setting as it was."""
        own = type(self).__name__
        for name, value in config.get(own, {}).items():
            if name not in self.traits(config=True):
                raise self._unknown(name)
            try:
                super().update_config(Config({own: {name: value}}))
            except TraitError as error:
                raise self._refused(name, value) from error

    def _unknown(self, name: str) -> SettingError:
        known = list(self.traits(config=True))
        return SettingError(f"GleitzeitNB has no setting {name!r:.80}{_near(name, known)}", f"It has: {', '.join(known)}")

    def _refused(self, name: str, value: object) -> SettingError:
        """Traits say only which type they want."""
        told = self.traits()[name].metadata
        problem = f"GleitzeitNB.{name} cannot be {value!r:.80}{_near(value, told.get('words', ()))}"
        return SettingError(problem, f"It takes: {told['takes']}", f"It is still {getattr(self, name)!r}")

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


def _near(value: object, words: Sequence[str]) -> str:
    near = difflib.get_close_matches(value, words, n=2) if isinstance(value, str) else []
    return f": did you mean {' or '.join(map(repr, near))}?" if near else ""
