"""Progress over everything, however it comes."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from spicy_avocado_magic.engine.progress import DownloadProgress

DIGESTS = st.sampled_from("abcd")
BYTES = st.integers(0, 1000)


@settings(deadline=None)
@given(
    expected=st.dictionaries(DIGESTS, BYTES),
    reports=st.lists(st.tuples(DIGESTS, BYTES, st.none() | BYTES)),
)
def test_progress_never_runs_backwards(
    expected: dict[str, int], reports: list[tuple[str, int, int | None]]
) -> None:
    """Restarted downloads, shared layers and late sizes never lower it."""
    tally = DownloadProgress()
    for digest, size in expected.items():
        tally.expect(digest, size)
    assert tally.total_bytes == sum(expected.values())
    done, total = tally.done_bytes, tally.total_bytes
    for digest, here, late_size in reports:
        if late_size is not None:
            tally.expect(digest, late_size)
        tally.record(digest, here)
        assert tally.done_bytes >= done, "bytes were taken back"
        assert tally.total_bytes >= total, "the total shrank"
        assert tally.done_bytes <= tally.total_bytes, "more is here than there is"
        done, total = tally.done_bytes, tally.total_bytes


def test_a_layer_that_two_models_share_counts_once() -> None:
    """The second model adds only its other layers."""
    tally = DownloadProgress()
    for digest in ("shared", "one", "shared", "two"):
        tally.expect(digest, 10)
    tally.record("shared", 10)
    assert (tally.done_bytes, tally.total_bytes) == (10, 30)


def test_blobs_of_removed_models_leave_the_total() -> None:
    """A removed model does not keep the progress bar from completing."""
    tally = DownloadProgress()
    for digest in ("kept", "gone"):
        tally.expect(digest, 10)
        tally.record(digest, 5)
    tally.keep_only({"kept"})
    assert (tally.done_bytes, tally.total_bytes) == (5, 10)
    tally.expect("gone", 10)
    assert tally.done_bytes == 10, "what was here was forgotten"
