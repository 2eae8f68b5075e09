"""The IPython session of a magic: its user, namespace, output and errors."""

from __future__ import annotations

import contextlib
import getpass
import os
import sys
import threading
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ..client.state_text import REHEARSAL_MARK
from ..errors import AvocadoError, Interrupted, as_avocado_error
from ..protocol.state_folder import StateFolder
from ..system.platform_secrets import platform_secret
from .line.command_table import CommandSpec
from .line.parser import parse_line
from .line.variables import VariableResolver

if TYPE_CHECKING:
    from ..client.handle import Avocado

HANDLE_NAME: Final = "avocado"
"""The variable that holds the handle of the running service."""
NOTHING_RUNS: Final = "Nothing is running. %avocado_up MODEL starts a service."


@dataclass(frozen=True, slots=True, kw_only=True)
class MagicCall:
    """One use of a magic.

    Attributes:
        spec: The magic.
        line: The text after its name.
        cell: The body below it; None where there is none.
        magics: The session's ``AvocadoMagics``.
        local_ns: The local variables of the place where it was used.
    """

    spec: CommandSpec
    line: str
    cell: str | None
    magics: Any
    local_ns: Mapping[str, Any]

    @property
    def shell(self) -> Any:
        """The IPython shell."""
        return self.magics.shell

    @property
    def in_notebook(self) -> bool:
        """Whether displays can be drawn."""
        return is_notebook(self.shell)

    @property
    def variables(self) -> VariableResolver:
        """Where ``$NAME`` is looked up."""
        return VariableResolver(
            namespace=ChainMap(dict(self.local_ns), self.shell.user_ns),
            environ=os.environ,
            platform_secret=platform_secret,
        )

    def parse(self) -> dict[str, Any]:
        """Return the values on the line, by name; see ``parse_line``."""
        return parse_line(self.spec, self.line, self.variables)


def print_line(text: str, *, rehearsal: bool = False) -> None:
    """Print a plain line, marked if it is about a rehearsal."""
    print(f"{REHEARSAL_MARK}\n{text}" if rehearsal else text)  # noqa: T201


def token_prompt(shell: Any) -> Callable[[str], str] | None:
    """Return a function that prompts for a token; None if nobody can answer.

    A thread cannot prompt: the answer would go to whichever cell is running.
    """
    if threading.current_thread() is not threading.main_thread():
        return None

    def prompt_for(prompt: str) -> str:
        try:
            return getpass.getpass(prompt)
        except EOFError:
            return ""

    return prompt_for if is_interactive(shell) else None


def is_interactive(shell: Any) -> bool:
    """Return whether a person can answer; False under nbclient and in scripts."""
    kernel = getattr(shell, "kernel", None)
    if kernel is None:
        return sys.stdin.isatty()
    return bool(getattr(kernel, "_allow_stdin", False))


def is_notebook(shell: Any) -> bool:
    """Return whether displays can be drawn; False in a terminal."""
    return getattr(shell, "kernel", None) is not None


@contextlib.contextmanager
def hide_tracebacks() -> Iterator[None]:
    """Turn every exception into an ``AvocadoError``, which shows no traceback.

    Raises:
        AvocadoError: Instead of whatever was raised inside.
    """
    try:
        yield
    except AvocadoError:
        raise
    except KeyboardInterrupt:
        raise Interrupted(
            "You stopped the cell.", "%avocado_status shows what is running."
        ) from None
    except Exception as error:
        raise as_avocado_error(error) from error


def is_handle(value: object) -> bool:
    """Return whether a value is a handle of the service."""
    from ..client.handle import Avocado

    return isinstance(value, Avocado)


def bind_handle(shell: Any, avocado: Avocado) -> bool:
    """Set ``avocado`` in the user's namespace; return False if it is the user's own."""
    is_free = HANDLE_NAME not in shell.user_ns or is_handle(shell.user_ns[HANDLE_NAME])
    if is_free:
        shell.user_ns[HANDLE_NAME] = avocado
    return is_free


def rebind_handle(shell: Any, *, rehearsal: bool) -> None:
    """Set ``avocado`` again after ``%reset``, or if its service has ended."""
    from ..client.handle import Avocado

    handle = shell.user_ns.get(HANDLE_NAME)
    if not isinstance(handle, Avocado) or handle.status() is None:
        bind_handle(shell, Avocado(StateFolder.find(rehearsal=rehearsal), "restored"))
