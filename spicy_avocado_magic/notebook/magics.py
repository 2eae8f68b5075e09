"""The magics: ``%avocado_up``, ``…_status``, ``…_logs``, ``…_doctor`` and others."""

from __future__ import annotations

import os
from collections import ChainMap
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

from IPython.core.magic import (
    Magics,
    line_cell_magic,
    line_magic,
    magics_class,
    needs_local_scope,
    no_var_expand,
)

from ..config.options import UpRequest
from ..errors import DaemonUnreachable
from ..system.platform_secrets import platform_secret
from ..system.platforms import detect_platforms, first_run_notices
from .commands.ask import run_ask
from .commands.doctor import run_doctor
from .commands.keys import run_keys
from .commands.logs import run_logs
from .commands.model import run_model
from .display.view import ended_text, print_line, view_for
from .line.commands import ASK, DOCTOR, DOWN, KEYS, LOGS, MODEL, STATUS, UP, CommandSpec
from .line.config_traits import OptionTraits, defaults_of
from .line.parser import parse_flags
from .line.up_line import parse_up
from .line.variables import VariableResolver
from .session import hide_tracebacks, is_notebook, token_prompt
from .user_namespace import bind_handle

if TYPE_CHECKING:
    from .display.throttle import RedrawThrottle

NOTHING_RUNS: Final = "Nothing is running. %avocado_up MODEL starts a service."
_Function = TypeVar("_Function", bound=Callable[..., Any])


def _magic(kind: Any, command: CommandSpec) -> Callable[[_Function], _Function]:
    """Mark a method as a magic that resolves its own ``$NAME``, with its help."""

    def mark(function: _Function) -> _Function:
        function.__doc__ = command.help()
        marked: _Function = no_var_expand(needs_local_scope(kind(function)))
        return marked

    return mark


@magics_class
class AvocadoMagics(Magics, OptionTraits):  # type: ignore[misc]  # untyped bases
    """The magics of one IPython session."""

    _has_told_policy = False

    @_magic(line_cell_magic, UP)
    def avocado_up(
        self,
        line: str,
        cell: str | None = None,
        local_ns: Mapping[str, Any] | None = None,
    ) -> None:
        """Replaced by the help of the command."""
        with hide_tracebacks():
            names = self._names(local_ns)
            request = parse_up(line, cell, names, defaults_of(self))
            if request is None:
                print_line(UP.help())
                return
            for notice in request.notices:
                print_line(f"! {notice}")
            self._bring_up(request.wish, names)

    @_magic(line_magic, STATUS)
    def avocado_status(
        self,
        line: str,
        local_ns: object = None,  # noqa: ARG002  (needs_local_scope passes it)
    ) -> dict[str, Any] | None:
        """Replaced by the help of the command."""
        with hide_tracebacks():
            from .commands.status import run_status

            return run_status(line, self.shell, nothing_runs=NOTHING_RUNS)

    @_magic(line_magic, DOWN)
    def avocado_down(
        self,
        line: str,
        local_ns: object = None,  # noqa: ARG002  (needs_local_scope passes it)
    ) -> None:
        """Replaced by the help of the command."""
        with hide_tracebacks():
            asked = parse_flags(line, DOWN)
            if asked is None:
                print_line(DOWN.help())
                return
            from ..client import api

            ended = api.down(**asked)
            for one in ended:
                print_line(ended_text(one), rehearsal=one.rehearsal)
            if not ended:
                print_line(NOTHING_RUNS, rehearsal=asked["rehearse"])

    @_magic(line_magic, KEYS)
    def avocado_keys(
        self, line: str, local_ns: Mapping[str, Any] | None = None
    ) -> None:
        """Replaced by the help of the command."""
        with hide_tracebacks():
            run_keys(
                line,
                self._names(local_ns),
                nothing_runs=NOTHING_RUNS,
                in_notebook=is_notebook(self.shell),
            )

    @_magic(line_magic, LOGS)
    def avocado_logs(
        self, line: str, local_ns: Mapping[str, Any] | None = None
    ) -> None:
        """Replaced by the help of the command."""
        with hide_tracebacks():
            run_logs(line, self._names(local_ns))

    @_magic(line_magic, DOCTOR)
    def avocado_doctor(
        self, line: str, local_ns: Mapping[str, Any] | None = None
    ) -> None:
        """Replaced by the help of the command."""
        with hide_tracebacks():
            run_doctor(line, self._names(local_ns))

    @_magic(line_cell_magic, ASK)
    def avocado_ask(
        self,
        line: str,
        cell: str | None = None,
        local_ns: Mapping[str, Any] | None = None,
    ) -> None:
        """Replaced by the help of the command."""
        with hide_tracebacks():
            in_notebook = is_notebook(self.shell)
            run_ask(line, cell, self._names(local_ns), in_notebook=in_notebook)

    @_magic(line_cell_magic, MODEL)
    def avocado_model(
        self,
        line: str,
        cell: str | None = None,
        local_ns: Mapping[str, Any] | None = None,
    ) -> None:
        """Replaced by the help of the command."""
        with hide_tracebacks():
            names = self._names(local_ns)
            run_model(
                line,
                cell,
                names,
                in_notebook=is_notebook(self.shell),
                bring_up=lambda wish, pace: self._bring_up(wish, names, pace),
            )

    def _bring_up(
        self,
        wish: UpRequest,
        names: VariableResolver,
        pace: RedrawThrottle | None = None,
    ) -> None:
        from ..client.up import run_up

        self._tell_policy(wish)
        with view_for(self.shell, pace) as view:
            avocado = run_up(
                wish,
                show=view.show,
                ask=token_prompt(self.shell),
                namespace=names.namespace,
            )
            bind_handle(self.shell, avocado)
            state = avocado.status()
            if state is None:
                raise DaemonUnreachable(
                    "The service ended right after it had started.",
                    "Run %avocado_up again.",
                )
            if avocado.outcome == "accepted":
                view.show_accepted(
                    state,
                    avocado.headline,
                    show_key=avocado.has_new_key,
                    show_token=avocado.has_new_token,
                )
                return
            view.show_ready(
                state,
                avocado.headline,
                show_key=avocado.has_new_key,
                show_token=avocado.has_new_token,
                snippets=avocado.snippets(show_key=avocado.has_new_key),
            )

    def _tell_policy(self, wish: UpRequest) -> None:
        if not self._has_told_policy:
            self._has_told_policy = True
            has_metrics = bool(wish.given.get("metrics_port"))
            for line in first_run_notices(
                detect_platforms(), wants_metrics=has_metrics
            ):
                print_line(f"! {line}")

    def _names(self, local_ns: Mapping[str, Any] | None) -> VariableResolver:
        return VariableResolver(
            namespace=ChainMap(dict(local_ns or {}), self.shell.user_ns),
            environ=os.environ,
            platform_secret=platform_secret,
        )
