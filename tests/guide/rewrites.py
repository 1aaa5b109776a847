"""The mechanical rewrites between the multi-instance guide's examples and this package: all there are, each with its reason.

The examples in this folder are transcribed with the guide's own imports, hosts and placeholders, and pass through `rewritten` before
they run. What an example merely presupposes (an open pool, `import asyncio`) is given to it as a name.

1. Import paths   `gleitzeit…` in imports, and as a logger's name, becomes `gleitzeit_nb`: here every public name is importable from it.
2. Hosts          each different address becomes that of a fake server, in order of appearance.
3. Placeholders   `[...]` and `{...}` become the values named in the test; a `...` that stands for further entries is dropped.
4. Constants      `true` and `false` of JSON become Python's.

Not here, because they are no matter of the pool: files of tasks (their `name`, `protocol`, dependencies and `${…}`; the parameters of
their tasks are in test_task_parameters.py), the draft's modes of Python execution, its images, and all diagrams.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

HOST = re.compile(r"http://[A-Za-z0-9.-]+:\d+")
PACKAGE = re.compile(r"\bgleitzeit(?:\.\w+)*(?=\s+import\b|\")")
CONSTANTS = {"true": "True", "false": "False"}


def rewritten(source: str, urls: Sequence[str] = (), placeholders: Mapping[str, str] | None = None) -> str:
    """`placeholders`: what stands for it in the source → code. Raises LookupError when something was not there to be rewritten."""
    source = PACKAGE.sub("gleitzeit_nb", source)
    for holder, code in (placeholders or {}).items():
        if holder not in source:
            raise LookupError(f"the example has no {holder!r}")
        source = source.replace(holder, code)
    source = with_hosts(source, urls) if urls else source
    for theirs, ours in CONSTANTS.items():
        source = re.sub(rf"(?<=[:=] ){theirs}\b", ours, source)
    return source


def with_hosts(source: str, urls: Sequence[str]) -> str:
    """Each different address becomes one of `urls`. Both must be used up."""
    ours = tuple(urls)
    theirs = [host for host in dict.fromkeys(HOST.findall(source)) if host not in ours]
    if len(theirs) != len(ours):
        raise LookupError(f"{len(theirs)} addresses ({', '.join(theirs)}) for {len(ours)} servers")
    for host, url in zip(theirs, ours, strict=True):
        source = re.sub(re.escape(host) + r"(?!\d)", url, source)
    return source
