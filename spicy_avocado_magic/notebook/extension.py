"""``%load_ext`` and ``%unload_ext``: register the magics in a session, and remove them.

Loading starts nothing. It sets ``avocado`` again if a service is already running.
"""

from __future__ import annotations

import os
import re
from typing import Any, Final

from ..config.options import parse_flag
from ..errors import AvocadoError
from ..protocol.state_folder import StateFolder
from ..system.paths import require_posix
from .line import ipython_completer
from .line.config_traits import TRAITS
from .magics import AvocadoMagics
from .session import HANDLE_NAME, bind_handle, is_handle, print_line

_LINE: Final = re.compile(r"\A%{1,2}(?P<name>avocado_\w+)(?P<end>;*)(?=\s|\Z)")


def load(ip: Any) -> None:
    """Register the magics once, and set ``avocado`` if a service runs.

    Raises:
        PlatformUnsupported: On Windows.
    """
    require_posix()
    if AvocadoMagics.__name__ in ip.magics_manager.registry:
        return
    _drop_bad_defaults(ip)
    ip.register_magics(AvocadoMagics)
    ipython_completer.install(ip)
    ip.input_transformers_cleanup.append(cell_to_line_magic)
    try:
        _restore_handle(ip)
    except AvocadoError as error:
        print_line(f"! {error}")


def unload(ip: Any) -> None:
    """Remove the magics and our ``avocado`` from a session."""
    magics = ip.magics_manager.registry.pop(AvocadoMagics.__name__, None)
    if magics is not None:
        for kind, registered in magics.magics.items():
            for name in registered:
                ip.magics_manager.magics[kind].pop(name, None)
        ip.configurables.remove(magics)
    ipython_completer.remove(ip)
    if cell_to_line_magic in ip.input_transformers_cleanup:
        ip.input_transformers_cleanup.remove(cell_to_line_magic)
    if HANDLE_NAME in ip.user_ns and is_handle(ip.user_ns[HANDLE_NAME]):
        del ip.user_ns[HANDLE_NAME]


def cell_to_line_magic(lines: list[str]) -> list[str]:
    """Return a cell's lines, rewritten if one of our magics is all that it holds.

    IPython alone rejects ``%%avocado_ask --help`` with an empty body, and takes the
    ``;`` of ``%avocado_status;`` for a part of the name. Both become ``%NAME …``.
    """
    if not lines or any(line.strip() for line in lines[1:]):
        return lines
    return [_LINE.sub(r"%\g<name> \g<end>", lines[0], count=1), *lines[1:]]


# Otherwise a terminal would run a cell magic before its body can be typed.
cell_to_line_magic.has_side_effects = True  # type: ignore[attr-defined]


def _drop_bad_defaults(ip: Any) -> None:
    """Remove invalid defaults from the session's configuration, with a warning.

    They come from a configuration file, or from a ``%config`` before ``%unload_ext``:
    the session keeps even values that were refused.
    """
    section = ip.config[AvocadoMagics.__name__]
    for name, value in list(section.items()):
        try:
            if name in TRAITS:
                TRAITS[name].validate(None, value)
        except AvocadoError as error:
            del section[name]
            print_line(f"! AvocadoMagics.{name} is ignored. {error}")


def _restore_handle(ip: Any) -> None:
    """Set ``avocado`` to the running service; a real one precedes a rehearsal."""
    rehearse = parse_flag(os.environ.get("AVOCADO_REHEARSE") or "0")
    for rehearsal in (True,) if rehearse else (False, True):
        folder = StateFolder.find(rehearsal=rehearsal)
        # Without a record nothing runs, and the client need not be imported.
        if not folder.record_path.exists():
            continue
        from ..client.handle import Avocado
        from ..client.launch import find_daemon

        if find_daemon(folder) is not None:
            text = "A service is already running. %avocado_status shows it"
            if bind_handle(ip, Avocado(folder, "restored")):
                text += f"; the variable `{HANDLE_NAME}` is its handle."
            else:
                text += f"; `{HANDLE_NAME}` is taken by a variable of yours."
            print_line(text, rehearsal=rehearsal)
            return
