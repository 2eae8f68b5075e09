"""Tab completion in IPython: installs our completer in a session, and removes it.

IPython ≥ 8.6 has matchers that can suppress the others. In 7.34, which Colab and Kaggle
ship, the hook is ``complete_command``. There Jedi still completes a magic's line as
Python and would offer ``--dict`` for ``--d``, so it is bypassed on our lines.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ...config.tunnel import TUNNEL
from ...system.platform_secrets import has_platform_secrets
from ...system.platforms import PlatformSignals, detect_platform
from ...system.redaction import Secret

if TYPE_CHECKING:
    from .completion import CompletionSources

_IDENTIFIER: Final = "spicy-avocado.completion"
_OURS: Final = re.compile(r".*avocado_\w+\s")
_CELL: Final = re.compile(r"\s*%%avocado_up\s")
_FIRST: Final = 1000
"""Priority of our matcher; IPython's own have 0."""
_SECRETIVE: Final = re.compile(
    rf"TOKEN|KEY|SECRET|AUTH|{TUNNEL.variable_prefix}", re.IGNORECASE
)
_VALUES: Final = (str, int, float, list, tuple, Secret, os.PathLike)
"""Types of variables that an option can take; checking them runs no user code."""


def install(ip: Any) -> None:
    """Add our completer to a session."""
    try:
        from IPython.core.completer import context_matcher
    except ImportError:
        _install_command_hook(ip)
        return

    @context_matcher(identifier=_IDENTIFIER, priority=_FIRST)  # type: ignore[untyped-decorator]
    def avocado(context: Any) -> dict[str, Any]:
        from IPython.core.completer import SimpleCompletion

        is_body = context.cursor_line > 0 and _CELL.match(context.full_text)
        typed, candidates = _complete(
            ip, context.text_until_cursor, is_body=bool(is_body)
        )
        return {
            "completions": [SimpleCompletion(text) for text in candidates],
            "matched_fragment": typed,
            "suppress": bool(candidates),
            "ordered": True,
        }

    ip.Completer.custom_matchers.append(avocado)


def remove(ip: Any) -> None:
    """Undo ``install``."""
    completer = ip.Completer
    completer.custom_matchers[:] = [
        matcher
        for matcher in completer.custom_matchers
        if getattr(matcher, "matcher_identifier", "") != _IDENTIFIER
    ]
    ip.strdispatchers["complete_command"].regexs.pop(_OURS, None)
    vars(completer).pop("_jedi_matches", None)


def _install_command_hook(ip: Any) -> None:
    ip.set_hook("complete_command", _on_command, re_key=_OURS)
    original = ip.Completer._jedi_matches  # noqa: SLF001  (7.34 has no other way)

    def jedi_matches(column: int, line: int, text: str) -> Any:
        until_cursor = text.split("\n")[line][:column]
        is_ours = _complete(ip, until_cursor)[1]
        return () if is_ours else original(column, line, text)

    ip.Completer._jedi_matches = jedi_matches  # noqa: SLF001


def _on_command(ip: Any, event: Any) -> list[str]:
    """Return the completions of the word as IPython 7.34 delimits it."""
    text = event.text_until_cursor
    typed, candidates = _complete(ip, text)
    start = text[: len(text) - len(typed)]
    return [(start + word)[len(text) - len(event.symbol) :] for word in candidates]


def _complete(
    ip: Any, text: str, *, is_body: bool = False
) -> tuple[str, Sequence[str]]:
    """Return the typed part of the last word, and its completions.

    Args:
        ip: The session.
        text: A line up to the cursor.
        is_body: Whether it is a line below ``%%avocado_up``.
    """
    if not is_body and not _OURS.match(text):
        return "", ()
    from .completion import complete, complete_body

    find = complete_body if is_body else complete
    completion = find(text, _sources(ip))
    if completion is None:
        return "", ()
    typed = completion.typed
    # A word without candidates is completed to itself, so that Jedi does not try it.
    return typed, completion.candidates or ((typed,) if typed else ())


def _sources(ip: Any) -> CompletionSources:
    from .completion import CompletionSources

    return CompletionSources(
        names=lambda: _names(ip.user_ns, ip.user_ns_hidden, os.environ),
        models=lambda: _models(os.environ),
        paths=_paths,
    )


def _names(
    namespace: Mapping[str, Any], hidden: Mapping[str, Any], environ: Mapping[str, str]
) -> list[str]:
    """Return the names that may follow ``$``, the notebook's variables first."""
    variables = [
        name
        for name, value in list(namespace.items())
        if not name.startswith("_")
        and name not in hidden
        and issubclass(type(value), _VALUES)
    ]
    stored = [TUNNEL.credential.variable] if has_platform_secrets() else []
    environment = sorted(environ, key=lambda name: (not _SECRETIVE.search(name), name))
    return [*variables, *stored, *environment]


def _models(environ: Mapping[str, str]) -> list[str]:
    from ...config.model_catalog import (
        WELL_KNOWN,
        folders_with_models,
        installed_models,
    )

    folders = folders_with_models(
        environ.get("AVOCADO_MODELS_DIR", ""),
        environ,
        detect_platform(PlatformSignals(environ=environ)).scratch,
    )
    return [*installed_models(folders), *WELL_KNOWN]


def _paths(typed: str) -> list[str]:
    """Return the paths that begin with a text, folders with a slash; ``~`` is kept."""
    whole = os.path.expanduser(typed)  # noqa: PTH111  (keeps a trailing slash)
    found = sorted(glob.glob(glob.escape(whole) + "*"))  # noqa: PTH207
    marked = [path + "/" if Path(path).is_dir() else path for path in found]
    return [typed + path.removeprefix(whole) for path in marked]
