"""IPython input transformer for cells that consist of one magic's line.

IPython alone rejects ``%%avocado_ask --help`` with an empty body, and takes the ``;``
of ``%avocado_status;`` for a part of the name. Both become ``%NAME …``.
"""

from __future__ import annotations

import re
from typing import Any, Final

_LINE: Final = re.compile(r"\A%{1,2}(?P<name>avocado_\w+)(?P<end>;*)(?=\s|\Z)")


def cell_to_line_magic(lines: list[str]) -> list[str]:
    """Return a cell's lines, rewritten if one of our magics is all that it holds."""
    if not lines or any(line.strip() for line in lines[1:]):
        return lines
    return [_LINE.sub(r"%\g<name> \g<end>", lines[0], count=1), *lines[1:]]


# Otherwise a terminal would run a cell magic before its body can be typed.
cell_to_line_magic.has_side_effects = True  # type: ignore[attr-defined]


def install(ip: Any) -> None:
    """Apply the transformer to every cell of a session."""
    ip.input_transformers_cleanup.append(cell_to_line_magic)


def remove(ip: Any) -> None:
    """Remove the transformer from a session."""
    if cell_to_line_magic in ip.input_transformers_cleanup:
        ip.input_transformers_cleanup.remove(cell_to_line_magic)
