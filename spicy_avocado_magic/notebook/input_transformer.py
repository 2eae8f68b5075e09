"""Cells of one line that IPython alone does not take for what is meant.

``%%avocado_ask --help`` with nothing below it, and ``%avocado_status;``, would end in
messages of its own. Both become the line ``%NAME …``, which tells or does the rest.
"""

from __future__ import annotations

import re
from typing import Any, Final

_LINE: Final = re.compile(r"\A%{1,2}(?P<name>avocado_\w+)(?P<end>;*)(?=\s|\Z)")


def cell_to_line_magic(lines: list[str]) -> list[str]:
    """Return a cell's lines, changed where a magic of ours stands in it alone."""
    if not lines or any(line.strip() for line in lines[1:]):
        return lines
    return [_LINE.sub(r"%\g<name> \g<end>", lines[0], count=1), *lines[1:]]


# Else a terminal would take the first line of a cell for the whole of it.
cell_to_line_magic.has_side_effects = True  # type: ignore[attr-defined]


def install(ip: Any) -> None:
    """Have it done to each cell of a session before it is run."""
    ip.input_transformers_cleanup.append(cell_to_line_magic)


def remove(ip: Any) -> None:
    """Leave the cells of a session as they are."""
    if cell_to_line_magic in ip.input_transformers_cleanup:
        ip.input_transformers_cleanup.remove(cell_to_line_magic)
