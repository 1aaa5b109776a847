"""Untrusted text made safe to show as text. It stands in core, since the command line shows such text too."""

from __future__ import annotations

from gleitzeit_nb.core.plain import OutputText, clean, one_line

__all__ = ["OutputText", "clean", "one_line"]
