"""One display of a notebook, drawn once and then replaced in place."""

from __future__ import annotations

from typing import Any

from .html import RichOutput


class UpdatableOutput:
    """Shows pictures one after the other at the same place.

    The notebook's file holds the last one only: a frontend replaces the output that
    has the same display id.
    """

    def __init__(self) -> None:
        self._handle: Any = None
        self._shown: RichOutput | None = None

    def update(self, picture: RichOutput) -> None:
        """Show a picture; the same one again is not sent."""
        from IPython.display import DisplayHandle

        if picture == self._shown:
            return
        is_first = self._handle is None
        # Before it is sent: an interrupt on the way must not make a second display.
        self._handle = self._handle or DisplayHandle()
        self._shown = picture
        if is_first:
            self._handle.display(picture.bundle, raw=True)
        else:
            self._handle.update(picture.bundle, raw=True)
