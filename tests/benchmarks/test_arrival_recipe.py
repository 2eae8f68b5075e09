"""The recipe, as far as it can be tested without a loopback world."""

from __future__ import annotations

from spicy_avocado_magic.config.settings import Endpoints

from .arrival_home import empty_home
from .arrival_recipe import follow_recipe


def test_a_recipe_that_fails_names_the_step() -> None:
    """No release host: it ends at once, at curl, and is no arrival."""
    with empty_home() as home:
        arrival = follow_recipe(
            home,
            Endpoints(registry="127.0.0.1:9"),
            archive_url="http://127.0.0.1:9/ollama.tar.zst",
            has_program=True,
        )
    assert arrival.failed_at == "curl"
    assert "curl: (7)" in arrival.text, "the reason is missing"
