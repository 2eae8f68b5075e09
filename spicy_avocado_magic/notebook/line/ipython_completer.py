"""Tab in a session: hooks our completion into IPython, and takes it out again.

IPython ≥ 8.6 has matchers that keep others out. In 7.34, which Colab and Kaggle ship,
``complete_command`` is the hook, beside which Jedi still takes a magic's line for
Python and would offer ``--dict`` for ``--d``; so it is not asked about our lines.
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
    from .completion import Completion, CompletionSources

_IDENTIFIER: Final = "spicy-avocado.completion"
_OURS: Final = re.compile(r".*avocado_\w+\s")
_CELL: Final = re.compile(r"\s*%%avocado_up\s")
_FIRST: Final = 1000
"""Priority of our matcher; those of IPython have 0."""
_SECRETIVE: Final = re.compile(
    rf"TOKEN|KEY|SECRET|AUTH|{TUNNEL.variable_prefix}", re.IGNORECASE
)
_VALUES: Final = (str, int, float, list, tuple, Secret, os.PathLike)
"""What an option can be given; told by the type alone, so that nothing runs."""


def install(ip: Any) -> None:
    """Offer our completions in a session."""
    try:
        from IPython.core.completer import context_matcher
    except ImportError:
        _install_command_hook(ip)
        return

    @context_matcher(identifier=_IDENTIFIER, priority=_FIRST)  # type: ignore[untyped-decorator]
    def avocado(context: Any) -> dict[str, Any]:
        from IPython.core.completer import SimpleCompletion

        is_below = context.cursor_line > 0 and _CELL.match(context.full_text)
        find = _find_in_body if is_below else _find
        typed, candidates = find(ip, context.text_until_cursor)
        return {
            "completions": [SimpleCompletion(text) for text in candidates],
            "matched_fragment": typed,
            "suppress": bool(candidates),
            "ordered": True,
        }

    ip.Completer.custom_matchers.append(avocado)


def remove(ip: Any) -> None:
    """Take everything out that ``install`` put in."""
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
    ask_jedi = ip.Completer._jedi_matches  # noqa: SLF001  (7.34 has no other way)

    def jedi_matches(column: int, line: int, text: str) -> Any:
        until_cursor = text.split("\n")[line][:column]
        is_ours = _find(ip, until_cursor)[1]
        return () if is_ours else ask_jedi(column, line, text)

    ip.Completer._jedi_matches = jedi_matches  # noqa: SLF001


def _on_command(ip: Any, event: Any) -> list[str]:
    """Answer in terms of what IPython takes for the word, as 7.34 wants it."""
    text = event.text_until_cursor
    typed, candidates = _find(ip, text)
    start = text[: len(text) - len(typed)]
    return [(start + one)[len(text) - len(event.symbol) :] for one in candidates]


def _find(ip: Any, text: str) -> tuple[str, Sequence[str]]:
    """Return what is typed of a word of a line and what it may become."""
    if not _OURS.match(text):
        return "", ()
    from .completion import complete

    return _claim_fragment(complete(text, _known(ip)))


def _find_in_body(ip: Any, text: str) -> tuple[str, Sequence[str]]:
    """Return the same for a line below ``%%avocado_up``."""
    from .completion import complete_body

    return _claim_fragment(complete_body(text, _known(ip)))


def _claim_fragment(found: Completion | None) -> tuple[str, Sequence[str]]:
    """Keep a word of ours that can become nothing: others would take it for Python."""
    if found is None:
        return "", ()
    return found.typed, found.candidates or ((found.typed,) if found.typed else ())


def _known(ip: Any) -> CompletionSources:
    from ...client.log_reader import LOG_COMPONENTS
    from .completion import CompletionSources

    return CompletionSources(
        names=lambda: _names(ip.user_ns, ip.user_ns_hidden, os.environ),
        models=lambda: _models(os.environ),
        components=lambda: LOG_COMPONENTS,
        paths=_paths,
    )


def _names(
    namespace: Mapping[str, Any], hidden: Mapping[str, Any], environ: Mapping[str, str]
) -> list[str]:
    """Return what may stand after ``$``: the notebook's variables go first."""
    variables = [
        name
        for name, value in list(namespace.items())
        if not name.startswith("_")
        and name not in hidden
        and issubclass(type(value), _VALUES)
    ]
    stored = [TUNNEL.credential.variable] if has_platform_secrets() else []
    around = sorted(environ, key=lambda name: (not _SECRETIVE.search(name), name))
    return [*variables, *stored, *around]


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
    """Return the paths that begin so, folders with a slash; ``~`` stays as typed."""
    whole = os.path.expanduser(typed)  # noqa: PTH111  (keeps a trailing slash)
    found = sorted(glob.glob(glob.escape(whole) + "*"))  # noqa: PTH207
    marked = [path + "/" if Path(path).is_dir() else path for path in found]
    return [typed + path.removeprefix(whole) for path in marked]
