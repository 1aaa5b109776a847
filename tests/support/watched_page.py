"""A browser page that keeps an account of what it did: errors, dialogs, requests, and elements that no untrusted text may make."""

from __future__ import annotations

import contextlib
import http.server
import re
import threading
from collections.abc import Iterator
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Dialog, Locator, Page

# Messages that JupyterLab itself gives, also without this extension.
KNOWN = re.compile(
    r"favicon|ResizeObserver loop|Failed to load resource|the server responded with a status of 40[34]|WebSocket|"
    r"reading 'schema'|Autofocus processing was blocked|Could not restore the debugger state"
)
ANSWER_TAGS = "div span p h1 h2 h3 h4 h5 h6 ul ol li pre code table thead tbody tr th td blockquote em strong del a hr br"

# `gzFaults(root, tags, linksIn)` lists what untrusted text must not make of itself below `root`. `tags`: names of the elements that it
# may, or null for all that do nothing by themselves; `linksIn`: where the reader makes links. A typeset formula has its own elements
# and no link; the dashboard has a style of its own.
INSPECTOR = """
(() => {
  const ACTIVE = new Set(('script iframe frame frameset object embed applet form base meta link img picture source video audio track ' +
    'portal template foreignobject animate set use image math style').split(' '));
  const ADDRESSES = ['src', 'srcset', 'srcdoc', 'xlink:href', 'action', 'formaction', 'poster', 'background', 'ping', 'data', 'lowsrc'];
  const STYLES = /url\\(|expression|@import|position\\s*:\\s*(fixed|absolute)/i;
  window.gzFaults = (root, tags, linksIn) => {
    const allowed = tags && new Set(tags.split(' '));
    const found = [];
    for (const element of [root, ...root.querySelectorAll('*')]) {
      const name = element.localName.toLowerCase();
      const typeset = element.closest('mjx-container') !== null;
      if (name === 'style' && (element.closest('head') || element.textContent.includes('.gz-dash'))) continue;
      const show = what => found.push(`<${name} ${what}`.slice(0, 200));
      if (typeset ? name === 'a' || name === 'script' : allowed ? element !== root && !allowed.has(name) : ACTIVE.has(name)) show('>');
      for (const { name: attribute, value } of element.attributes) {
        if (/^on/i.test(attribute) || ADDRESSES.includes(attribute)) show(`${attribute}=${value}`);
        const itsOwn = !(linksIn && element.closest(linksIn));
        if (attribute === 'href' && itsOwn && !/^(https?:\\/\\/|mailto:|#)/.test(value)) show(`href=${value}`);
        if (attribute === 'style' && !typeset && STYLES.test(value)) show(`style=${value}`);
      }
    }
    return found;
  };
  window.gzSeen = [];
  new MutationObserver(records => {
    for (const { addedNodes } of records) for (const node of addedNodes) {
      const output = node.nodeType === 1 && node.closest('.jp-OutputArea-output');
      if (output && !node.closest('.jupyter-widgets')) window.gzSeen.push(...window.gzFaults(node, null, 'pre'));
    }
  }).observe(document, { childList: true, subtree: true });
})();
"""


class WatchedPage:
    """`page`, and what it reported so far. `requests` holds every address that it asked for."""

    def __init__(self, context: BrowserContext) -> None:
        context.add_init_script(INSPECTOR)
        self.page: Page = context.new_page()
        self.requests: list[str] = []
        self.dialogs: list[str] = []
        self._reported: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("dialog", self._dismiss)
        self.page.on("pageerror", lambda error: self._reported.append(str(error)))
        self.page.on("console", lambda message: self._reported.append(message.text) if message.type == "error" else None)

    @classmethod
    @contextlib.contextmanager
    def opened(cls, browser: Browser) -> Iterator[WatchedPage]:
        context = browser.new_context(viewport={"width": 1400, "height": 900})
        try:
            yield cls(context)
        finally:
            context.close()

    @property
    def errors(self) -> list[str]:
        """What the page reported as an error, without JupyterLab's own."""
        return [error for error in self._reported if not KNOWN.search(error)]

    def take_errors(self) -> list[str]:
        """As `errors`; each is told once, so that one test's are not the next one's."""
        found = self.errors
        self._reported.clear()
        return found

    def _dismiss(self, dialog: Dialog) -> None:
        if dialog.type == "beforeunload":  # JupyterLab asks so for what is not saved; the test wants to leave
            dialog.accept()
            return
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    def foreign(self, *own: str) -> list[str]:
        """Requests to any other place than those that begin with one of `own`, the page itself and inline data."""
        return [url for url in self.requests if not url.startswith(("data:", "blob:", "about:", *own))]

    @staticmethod
    def faults(regions: Locator, tags: str | None = None, *, links_in: str = "") -> list[str]:
        """What untrusted text has made of itself in `regions`. `tags`: the elements that it may make there; None: all that do nothing.

        `links_in`: a selector of elements in which the reader itself makes links, which are not looked at.
        """
        found: list[str] = regions.evaluate_all(
            "(roots, [tags, linksIn]) => roots.flatMap(root => window.gzFaults(root, tags, linksIn))", [tags, links_in]
        )
        return found

    def acted(self) -> dict[str, Any]:
        """Everything by which a script would have shown that it ran; empty when nothing did."""
        signs = {"pwned": self.page.evaluate("() => window.__pwned ?? null"), "title": "owned" in self.page.title()}
        seen = {"dialogs": self.dialogs, "errors": self.errors, "elements": self.page.evaluate("() => window.gzSeen")}
        return {name: sign for name, sign in {**signs, **seen}.items() if sign}


class Trap:
    """A server that nobody has a reason to ask: it remembers who came."""

    def __init__(self) -> None:
        self.visits: list[str] = []
        trap = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def handle(self) -> None:
                trap.visits.append(self.rfile.readline(1000).decode("latin-1").strip() or "a connection")

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @classmethod
    @contextlib.contextmanager
    def set(cls) -> Iterator[Trap]:
        trap = cls()
        thread = threading.Thread(target=trap._server.serve_forever, args=(0.1,), daemon=True)
        thread.start()
        try:
            yield trap
        finally:
            trap._server.shutdown()
            trap._server.server_close()
            thread.join()
