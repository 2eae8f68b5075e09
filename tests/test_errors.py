"""The tree of errors: what each shows, and how it crosses from the host."""

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
    """Who reads the module's first lines knows the whole tree."""
    assert errors.__doc__ is not None
    drawn = {word for word in errors.__doc__.split() if word.isidentifier()}
    missing = [kind.__name__ for kind in KINDS if kind.__name__ not in drawn]
    assert not missing


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_error_crosses_from_the_host_whole(kind: type[AvocadoError]) -> None:
    """The kernel raises the very class that the host met, with its log."""
    error = error_from_name(kind.__name__, "It broke.", "Repair it.", ("a", "b"))
    assert type(error) is kind
    assert (error.problem, error.remedy) == ("It broke.", "Repair it.")
    assert error.log_tail == ("a", "b")
    assert str(error) == "It broke. Repair it."


def test_an_error_class_of_another_version_keeps_its_message() -> None:
    """A newer host's error is not lost on an older kernel."""
    error = error_from_name("FromTheFuture", "It broke.", "Repair it.")
    assert type(error) is InternalError
    assert error.problem == "It broke."


def test_only_the_end_of_a_long_log_is_shown() -> None:
    """A crash's last words fit under the cell."""
    tail = [str(number) for number in range(50)]
    shown = EngineFailed("It died.", "Wait.", log_tail=tail)._render_traceback_()
    assert len(shown) == 2 + LOG_LINES_SHOWN
    assert shown[-1].endswith("│ 49")


def test_retrying_is_pointless_where_only_the_user_can_mend() -> None:
    """The second level of the tree says who must act."""
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
def test_python_programs_can_catch_the_usual_class(
    kind: type[AvocadoError], builtin: str
) -> None:
    """From Python, a mistake is what it is everywhere else."""
    assert issubclass(kind, getattr(builtins, builtin))


def test_a_foreign_error_becomes_a_bug_of_ours_and_ours_stay() -> None:
    """Nothing reaches the user as a bare exception of a library."""
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
def test_a_disk_that_takes_nothing_is_no_bug_of_ours(
    number: int, kind: type[AvocadoError]
) -> None:
    """Whatever runs into it, the error names the file and what to do."""
    known = as_avocado_error(OSError(number, "no", "/some/file"))
    assert type(known) is kind
    assert known.problem.startswith("/some/file: ")
