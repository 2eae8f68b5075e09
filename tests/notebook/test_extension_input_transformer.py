"""Cells that consist of one magic's line."""

from __future__ import annotations

import pytest

import spicy_avocado_magic
from spicy_avocado_magic.errors import UsageError
from spicy_avocado_magic.notebook.extension import cell_to_line_magic
from spicy_avocado_magic.notebook.line.command_table import ASK, UP

from .conftest import READY, Service, Session


@pytest.mark.parametrize(
    ("cell", "becomes"),
    [
        ("%%avocado_ask --help\n", "%avocado_ask  --help\n"),
        ("%%avocado_up tiny\n\n \n", "%avocado_up  tiny\n\n \n"),
        ("%avocado_status;\n", "%avocado_status ;\n"),
        ("%%avocado_ask\nWhy?\n", "%%avocado_ask\nWhy?\n"),
        ("%avocado_status;\nx\n", "%avocado_status;\nx\n"),
        ("%%avocado_ask?\n", "%%avocado_ask?\n"),
        ("%%time\n", "%%time\n"),
        ("x = '%avocado_status;'\n", "x = '%avocado_status;'\n"),
        ("", ""),
    ],
)
def test_only_a_cell_with_nothing_but_our_magic_is_changed(
    cell: str, becomes: str
) -> None:
    """The body of a cell is left as it is."""
    assert "".join(cell_to_line_magic(cell.splitlines(keepends=True))) == becomes


def test_a_cell_magic_without_a_body_works(session: Session, service: Service) -> None:
    """IPython itself would print a message of its own."""
    session.run("%%avocado_ask --help")
    assert ASK.help() in session.printed()
    session.run("%%avocado_up --help")
    assert UP.help() in session.printed()
    session.run("%%avocado_up llama3 --local")
    assert len(service.requests) == 1
    service.state = READY
    session.run("%avocado_status;")
    assert READY.url in session.printed()
    assert isinstance(session.fail("%%avocado_ask"), UsageError)


def test_a_terminal_waits_for_the_body(session: Session) -> None:
    """Enter after the first line of a cell magic does not run it."""
    check = session.shell.input_transformer_manager.check_complete
    assert check("%%avocado_ask")[0] == "incomplete"


def test_unloading_removes_the_transformer(session: Session) -> None:
    """It had been installed once."""
    found = session.shell.input_transformers_cleanup
    assert found.count(cell_to_line_magic) == 1
    spicy_avocado_magic.unload_ipython_extension(session.shell)
    spicy_avocado_magic.unload_ipython_extension(session.shell)
    assert cell_to_line_magic not in found
