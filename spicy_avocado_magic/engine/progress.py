"""Download progress over all blobs of all models."""

from __future__ import annotations

from collections.abc import Collection


class DownloadProgress:
    """Bytes on disk and bytes in total, which never decrease.

    A blob that two models share counts once. Bytes stay counted when a partial file
    is downloaded again. A size that becomes known later is added to the total then.
    """

    def __init__(self) -> None:
        self._sizes: dict[str, int] = {}
        self._done: dict[str, int] = {}

    def expect(self, digest: str, size_bytes: int) -> None:
        """Add a blob to the total."""
        self._sizes[digest] = max(size_bytes, self._sizes.get(digest, 0))

    def record(self, digest: str, done_bytes: int) -> None:
        """Record the bytes on disk of a blob."""
        self._done[digest] = max(done_bytes, self._done.get(digest, 0))

    def keep_only(self, digests: Collection[str]) -> None:
        """Remove all other blobs from the total."""
        self._sizes = {d: size for d, size in self._sizes.items() if d in digests}

    @property
    def total_bytes(self) -> int:
        """Bytes of all blobs of known size."""
        return sum(self._sizes.values())

    @property
    def done_bytes(self) -> int:
        """Bytes on disk, at most the total."""
        return sum(min(self._done.get(d, 0), size) for d, size in self._sizes.items())
