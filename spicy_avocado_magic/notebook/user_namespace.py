"""The name ``avocado`` in a session: given, kept where it is the user's, taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ..protocol.state_folder import StateFolder

if TYPE_CHECKING:
    from ..client.handle import Avocado

NAME: Final = "avocado"


def is_handle(value: object) -> bool:
    """Tell whether a value is a handle of ours."""
    from ..client.handle import Avocado

    return isinstance(value, Avocado)


def bind_handle(shell: Any, avocado: Avocado) -> bool:
    """Put a handle into the user's namespace unless the name is the user's own."""
    is_free = NAME not in shell.user_ns or is_handle(shell.user_ns[NAME])
    if is_free:
        shell.user_ns[NAME] = avocado
    return is_free


def rebind_handle(shell: Any, *, rehearsal: bool) -> None:
    """Put a handle back after ``%reset``; one that still holds is kept."""
    from ..client.handle import Avocado

    held = shell.user_ns.get(NAME)
    if not isinstance(held, Avocado) or held.status() is None:
        bind_handle(shell, Avocado(StateFolder.find(rehearsal=rehearsal), "restored"))
