"""SIGINT at its default, for this process and all that it starts.

A shell without job control starts its background jobs (``pytest &``, ``nohup``) with
SIGINT ignored, and a child inherits that: an interrupt would then do nothing.
"""

from __future__ import annotations

import signal


def restore_interrupts() -> None:
    """Let SIGINT raise ``KeyboardInterrupt`` again where it was ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
