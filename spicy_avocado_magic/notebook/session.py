"""The session around a magic: is it a notebook, may it ask, and what may get out."""

from __future__ import annotations

import contextlib
import getpass
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

from ..errors import AvocadoError, Interrupted, as_avocado_error


def token_prompt(shell: Any) -> Callable[[str], str] | None:
    """Return a way to ask for a token where a person is there to answer.

    A thread cannot ask: the answer goes to whatever cell runs.
    """
    if threading.current_thread() is not threading.main_thread():
        return None

    def ask(prompt: str) -> str:
        try:
            return getpass.getpass(prompt)
        except EOFError:
            return ""

    return ask if is_interactive(shell) else None


def is_interactive(shell: Any) -> bool:
    """Tell whether a person is there, which nbclient and scripts are not."""
    kernel = getattr(shell, "kernel", None)
    if kernel is None:
        return sys.stdin.isatty()
    return bool(getattr(kernel, "_allow_stdin", False))


def is_notebook(shell: Any) -> bool:
    """Tell whether displays can be drawn, which a terminal cannot."""
    return getattr(shell, "kernel", None) is not None


@contextlib.contextmanager
def hide_tracebacks() -> Iterator[None]:
    """Let nothing but our own errors out, which show as lines without a traceback."""
    try:
        yield
    except AvocadoError:
        raise
    except KeyboardInterrupt:
        raise Interrupted(
            "Interrupted.", "%avocado_status tells how things are."
        ) from None
    except Exception as error:
        raise as_avocado_error(error) from error
