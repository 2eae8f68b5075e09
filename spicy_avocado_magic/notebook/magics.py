"""The IPython magics, made from the command table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from IPython.core.magic import (
    Magics,
    line_cell_magic,
    line_magic,
    magics_class,
    needs_local_scope,
    no_var_expand,
)

from .line.command_table import COMMANDS, PREFIX, CommandSpec
from .line.config_traits import OptionTraits
from .line.parser import asks_for_help, missing_body_error
from .session import MagicCall, hide_tracebacks, print_line


class AvocadoMagics(Magics, OptionTraits):  # type: ignore[misc]  # untyped bases
    """The magics of one IPython session; the methods are added below."""

    has_shown_notices = False
    """Whether the platform's notices were printed, which is done once."""


def _magic(spec: CommandSpec) -> Callable[..., Any]:
    """Return the method that IPython calls for a command."""

    def magic(
        self: AvocadoMagics,
        line: str,
        cell: str | None = None,
        local_ns: Mapping[str, Any] | None = None,
    ) -> Any:
        with hide_tracebacks():
            if asks_for_help(line):
                print_line(spec.help())
                return None
            if spec.body and not (cell or "").strip():
                raise missing_body_error(spec)
            # Only when it is used: %load_ext should be instant.
            name = spec.name.removeprefix(PREFIX)
            command = import_module(f".commands.{name}", __package__)
            return command.run(
                MagicCall(
                    spec=spec,
                    line=line,
                    cell=cell,
                    magics=self,
                    local_ns=local_ns or {},
                )
            )

    magic.__name__ = spec.name
    magic.__doc__ = spec.help()
    register = line_cell_magic if spec.takes_body else line_magic
    # Each command looks up its own $NAME: IPython leaves the whole line unexpanded
    # if one name is not defined, and splits values with spaces.
    expanded_by_us: Callable[..., Any] = no_var_expand(
        needs_local_scope(register(magic))
    )
    return expanded_by_us


for _spec in COMMANDS:
    setattr(AvocadoMagics, _spec.name, _magic(_spec))
magics_class(AvocadoMagics)
