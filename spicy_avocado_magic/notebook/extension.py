"""What ``%load_ext`` and ``%unload_ext`` do to a session."""

from __future__ import annotations

import os
from typing import Any

from ..config.options import parse_flag
from ..errors import AvocadoError
from ..protocol.state_folder import StateFolder
from ..system.paths import require_posix
from . import input_transformer
from .display.view import print_line
from .line import ipython_completer
from .line.config_traits import TRAITS
from .magics import AvocadoMagics
from .user_namespace import NAME, bind_handle, is_handle


def load(ip: Any) -> None:
    """Register the magics, once, and give back ``avocado`` if a service runs.

    Raises:
        PlatformUnsupported: On Windows.
    """
    require_posix()
    if AvocadoMagics.__name__ in ip.magics_manager.registry:
        return
    _drop_bad_defaults(ip)
    ip.register_magics(AvocadoMagics)
    ipython_completer.install(ip)
    input_transformer.install(ip)
    try:
        _restore(ip)
    except AvocadoError as error:
        print_line(f"! {error}")


def unload(ip: Any) -> None:
    """Take the magics and our ``avocado`` out of a session."""
    magics = ip.magics_manager.registry.pop(AvocadoMagics.__name__, None)
    if magics is not None:
        for kind, registered in magics.magics.items():
            for name in registered:
                ip.magics_manager.magics[kind].pop(name, None)
        ip.configurables.remove(magics)
    ipython_completer.remove(ip)
    input_transformer.remove(ip)
    if NAME in ip.user_ns and is_handle(ip.user_ns[NAME]):
        del ip.user_ns[NAME]


def _drop_bad_defaults(ip: Any) -> None:
    """Tell of defaults that cannot be right, and leave them out.

    They are of a configuration file, or of a ``%config`` before ``%unload_ext``: the
    session keeps also what we refused.
    """
    section = ip.config[AvocadoMagics.__name__]
    for name, value in list(section.items()):
        try:
            if name in TRAITS:
                TRAITS[name].validate(None, value)
        except AvocadoError as error:
            del section[name]
            print_line(f"! AvocadoMagics.{name} is left out. {error}")


def _restore(ip: Any) -> None:
    """Give ``avocado`` back if a host lives; a real one goes before a rehearsal."""
    rehearse = parse_flag(os.environ.get("AVOCADO_REHEARSE") or "0")
    for rehearsal in (True,) if rehearse else (False, True):
        folder = StateFolder.find(rehearsal=rehearsal)
        # Without a record there is no host, and no need to import the client.
        if not folder.record_path.exists():
            continue
        from ..client.handle import Avocado
        from ..client.launch import find_daemon

        if find_daemon(folder) is not None:
            is_given = bind_handle(ip, Avocado(folder, "restored"))
            where = f"`{NAME}` is it" if is_given else f"the name `{NAME}` is taken"
            text = f"A service is running: {where}, %avocado_status shows it."
            print_line(text, rehearsal=rehearsal)
            return
