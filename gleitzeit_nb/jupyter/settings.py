"""What `%config GleitzeitNB` shows and sets, and what an IPython configuration file may set for every notebook."""

from __future__ import annotations

from traitlets import Bool, Unicode
from traitlets.config import Configurable


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
    debug = Bool(False, help="Show the whole trace of expected errors.").tag(config=True)
