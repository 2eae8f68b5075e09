"""The error tree: what an error shows, and how it is sent from the daemon."""

from __future__ import annotations

import builtins
import errno

import pytest

from spicy_avocado_magic import errors
from spicy_avocado_magic.errors import (
    LOG_LINES_SHOWN,
    AvocadoError,
    ComponentFailed,
    DiskTooSmall,
    EngineFailed,
    InternalError,
    Interrupted,
    NotebookUnsupported,
    PlatformUnsupported,
    SecretMissing,
    StartTimeout,
    UsageError,
    UserActionRequired,
    as_avocado_error,
    error_from_name,
    iter_error_classes,
)

KINDS = list(iter_error_classes())


def test_the_drawing_at_the_top_shows_every_class() -> None:
    """The first lines of the module are complete."""
    assert errors.__doc__ is not None
    drawn = {word for word in errors.__doc__.split() if word.isidentifier()}
    missing = [kind.__name__ for kind in KINDS if kind.__name__ not in drawn]
    assert not missing


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_error_of_the_daemon_keeps_its_class_and_text(
    kind: type[AvocadoError],
) -> None:
    """The kernel raises the class that the daemon raised, with its log."""
    error = error_from_name(kind.__name__, "It broke.", "Repair it.", ("a", "b"))
    assert type(error) is kind
    assert (error.problem, error.remedy) == ("It broke.", "Repair it.")
    assert error.log_tail == ("a", "b")
    assert str(error) == "It broke. Repair it."


def test_an_error_class_of_another_version_keeps_its_message() -> None:
    """An older kernel shows the error of a newer daemon."""
    error = error_from_name("FromTheFuture", "It broke.", "Repair it.")
    assert type(error) is InternalError
    assert error.problem == "It broke."


def test_only_the_end_of_a_long_log_is_shown() -> None:
    """The last lines of a crash fit under the cell."""
    tail = [str(number) for number in range(50)]
    shown = EngineFailed("It died.", "Wait.", log_tail=tail)._render_traceback_()
    assert len(shown) == 2 + LOG_LINES_SHOWN
    assert shown[-1].endswith("│ 49")


def test_errors_that_only_the_user_can_remove_are_permanent() -> None:
    """The second level of the tree says who has to act."""
    for kind in KINDS:
        is_permanent = issubclass(kind, (UserActionRequired, NotebookUnsupported))
        assert kind.permanent == is_permanent, kind.__name__
    assert not ComponentFailed.permanent


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (UsageError, "ValueError"),
        (SecretMissing, "LookupError"),
        (Interrupted, "KeyboardInterrupt"),
        (StartTimeout, "TimeoutError"),
    ],
)
def test_an_error_is_also_of_the_usual_builtin_class(
    kind: type[AvocadoError], builtin: str
) -> None:
    """A program can catch it without knowing this package."""
    assert issubclass(kind, getattr(builtins, builtin))


def test_an_error_of_a_library_becomes_an_internal_error() -> None:
    """Errors of this package stay as they are."""
    ours = UsageError("No.", "Yes.")
    assert as_avocado_error(ours) is ours
    bug = as_avocado_error(KeyError("x"))
    assert type(bug) is InternalError
    assert "KeyError" in bug.problem


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, DiskTooSmall),
        (errno.EDQUOT, DiskTooSmall),
        (errno.EROFS, PlatformUnsupported),
    ],
)
def test_a_full_or_read_only_disk_is_no_internal_error(
    number: int, kind: type[AvocadoError]
) -> None:
    """The error names the file and the remedy."""
    known = as_avocado_error(OSError(number, "no", "/some/file"))
    assert type(known) is kind
    assert known.problem.startswith("/some/file: ")
