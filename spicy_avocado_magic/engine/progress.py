"""Progress over all blobs of all models: it never runs backwards."""

from __future__ import annotations

from collections.abc import Collection


class DownloadProgress:
    """Bytes here and bytes wanted, by digest, however they come.

    A digest that two models share counts once. What was counted stays counted,
    also when a part must be fetched anew; a size that is not known beforehand
    joins the total when it is told.
    """

    def __init__(self) -> None:
        self._sizes: dict[str, int] = {}
        self._done: dict[str, int] = {}

    def expect(self, digest: str, size_bytes: int) -> None:
        """Take a blob into the total."""
        self._sizes[digest] = max(size_bytes, self._sizes.get(digest, 0))

    def record(self, digest: str, done_bytes: int) -> None:
        """Count what is here of a blob."""
        self._done[digest] = max(done_bytes, self._done.get(digest, 0))

    def keep_only(self, digests: Collection[str]) -> None:
        """Leave out of the total what is not wanted any more."""
        self._sizes = {d: size for d, size in self._sizes.items() if d in digests}

    @property
    def total_bytes(self) -> int:
        """Of all blobs whose size is known."""
        return sum(self._sizes.values())

    @property
    def done_bytes(self) -> int:
        """Never more than the total."""
        return sum(min(self._done.get(d, 0), size) for d, size in self._sizes.items())
