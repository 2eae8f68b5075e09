"""The pictures that the README shows: there, PNG, and small."""

from __future__ import annotations

from typing import Final

import pytest

from tests.browser.test_quickstart import LARGEST_PICTURE_BYTES, PICTURES

NAMES: Final = sorted(
    f"card-{state}-{scheme}.png"
    for state in ("ready", "working")
    for scheme in ("dark", "light")
)


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_is_small_enough_for_a_page(name: str) -> None:
    """Who opens the README on a slow line sees it soon."""
    picture = (PICTURES / name).read_bytes()
    assert picture.startswith(b"\x89PNG\r\n"), f"{name} is no PNG"
    assert len(picture) <= LARGEST_PICTURE_BYTES, f"{name} has {len(picture)} bytes"


def test_no_other_picture_lies_about() -> None:
    """The browser test takes each, so each can be taken again."""
    assert sorted(path.name for path in PICTURES.iterdir()) == NAMES
