"""The view of ``%avocado_up``."""

from __future__ import annotations

from ..conftest import Service, Session


def test_a_notebook_gets_a_card_and_a_terminal_gets_lines(
    session: Session, service: Service
) -> None:
    """A terminal cannot draw a display."""
    session.run("%avocado_up llama3 --local")
    assert session.displays == []
    session.pretend_to_be_a_kernel()
    session.run("%avocado_up llama3 --local")
    (card,) = {shown["transient"]["display_id"] for shown in session.displays}
    assert card
    assert "avocado-card" in session.displays[-1]["data"]["text/html"]
