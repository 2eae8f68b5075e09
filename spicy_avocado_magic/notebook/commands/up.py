"""``%avocado_up``: start the service or change it, and show its progress."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...client import up
from ...config.options import UpRequest
from ...errors import DaemonUnreachable
from ...system.platforms import detect_platforms, first_run_notices
from ..display.card import CardView
from ..display.render import UpResult
from ..display.terminal import TerminalView
from ..line.config_traits import defaults_of
from ..line.up_line import parse_up
from ..session import MagicCall, bind_handle, is_interactive, print_line, token_prompt

if TYPE_CHECKING:
    from ..display.updatable import RedrawThrottle


def run(call: MagicCall) -> None:
    """Start or change the service as a line and its cell body say.

    Raises:
        AvocadoError: If the line is wrong, or the service cannot be started.
    """
    up_line = parse_up(call.line, call.cell, call.variables, defaults_of(call.magics))
    for notice in up_line.notices:
        print_line(f"! {notice}")
    bring_up(call, up_line.request)


def bring_up(
    call: MagicCall, request: UpRequest, throttle: RedrawThrottle | None = None
) -> None:
    """Start or change the service, and leave its URL and key on the screen.

    Args:
        call: Of the magic that needs it.
        request: Settings and models.
        throttle: The redraws that the cell has left.

    Raises:
        AvocadoError: If the service cannot be started.
    """
    _print_notices(call, request)
    view: CardView | TerminalView = TerminalView()
    if call.in_notebook:
        view = CardView(throttle=throttle, is_attended=is_interactive(call.shell))
    with view:
        avocado = up.run_up(
            request,
            show=view.show,
            ask=token_prompt(call.shell),
            namespace=call.variables.namespace,
        )
        bind_handle(call.shell, avocado)
        state = avocado.status()
        if state is None:
            raise DaemonUnreachable(
                "The service stopped right after it had started.",
                "Run %avocado_up again.",
            )
        is_new, is_accepted = avocado.has_new_key, avocado.outcome == "accepted"
        view.show_result(
            UpResult(
                state=state,
                headline=avocado.headline,
                is_accepted=is_accepted,
                show_key=is_new,
                show_token=avocado.has_new_token,
                snippets=() if is_accepted else avocado.snippets(show_key=is_new),
            )
        )


def _print_notices(call: MagicCall, request: UpRequest) -> None:
    """Print what the platform restricts, the first time in a session."""
    if not call.magics.has_shown_notices:
        call.magics.has_shown_notices = True
        has_metrics = bool(request.given.get("metrics_port"))
        for line in first_run_notices(detect_platforms(), wants_metrics=has_metrics):
            print_line(f"! {line}")
