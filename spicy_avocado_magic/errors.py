"""One tree of errors; each says what happened and what to do about it.

AvocadoError
├── UserActionRequired                 only the user can mend it; never retried
│   ├── UsageError            an option, value or line that cannot be right
│   ├── SecretMissing           a token or ``$NAME`` that is nowhere
│   ├── InvalidToken            ngrok does not accept the token (105, 106, 107 …)
│   ├── EndpointUnavailable         ngrok does not give this URL (313, 338, 727 …)
│   │   └── EndpointInUse       another session has it, perhaps our own (334, 108)
│   ├── ModelUnavailable            no such model, gated, or it needs a newer engine
│   ├── PortInUse               a port that was asked for is in use
│   ├── ChecksumMismatch         what arrives is not what was published, twice
│   └── VersionMismatch         the package was upgraded under a running host
├── NotebookUnsupported         this machine cannot do it; never retried
│   ├── DiskTooSmall            archive or model does not fit
│   ├── MemoryTooSmall          a model that RAM and VRAM together cannot hold
│   └── PlatformUnsupported     Windows, or a folder that is not ours
├── ComponentFailed             a part fell over; retried with backoff
│   ├── EngineFailed            ``ollama serve``
│   ├── DownloadFailed          an archive, agent or blob that did not arrive whole
│   ├── GatewayFailed           the authenticating proxy
│   ├── TunnelFailed            the agent or its endpoint
│   │   └── TrafficPolicyRejected       the service does not take our rule for requests
│   └── NetworkUnreachable      nothing answers; often no network at all
├── DaemonUnreachable             the background process does not answer
│   └── DaemonUnresponsive                it lives, and answers nothing
├── Interrupted                 by the user; what was begun was taken back
├── StartTimeout               no progress for minutes; the host goes on trying
└── InternalError                  our mistake
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from typing import ClassVar, Final

LOG_LINES_SHOWN: Final = 8
TOLD_ABOVE: Final = "✗ The card above says why, and what to do."


class AvocadoError(Exception):
    """Tell what happened and what to do; catch this to catch everything of ours.

    Attributes:
        problem: One sentence: what happened.
        remedy: One sentence: what the user can do now.
        log_tail: The last lines of the failed part's log, oldest first.
        permanent: Whether trying again without the user's help is pointless.
        is_told: Whether a display above tells all of it to a person already.
    """

    permanent: ClassVar[bool] = False

    def __init__(
        self, problem: str, remedy: str, *, log_tail: Sequence[str] = ()
    ) -> None:
        super().__init__(problem, remedy)
        self.problem = problem
        self.remedy = remedy
        self.log_tail = tuple(log_tail)
        self.is_displayed = False

    def __str__(self) -> str:
        return f"{self.problem} {self.remedy}"

    def _render_traceback_(self) -> list[str]:
        """Show these lines in place of a traceback (a hook of IPython ≥ 7)."""
        if self.is_displayed:
            return [TOLD_ABOVE]
        lines = [f"✗ {self.problem}", f"  → {self.remedy}"]
        return lines + [f"    │ {line}" for line in self.log_tail[-LOG_LINES_SHOWN:]]


class UserActionRequired(AvocadoError):
    """Only the user can mend this; it is never retried."""

    permanent = True


class UsageError(UserActionRequired, ValueError):
    """An option, value or line that cannot be right."""


class SecretMissing(UserActionRequired, LookupError):
    """A token or ``$NAME`` that is nowhere to be found."""


class InvalidToken(UserActionRequired):
    """The tunnel service does not accept the token."""


class EndpointUnavailable(UserActionRequired):
    """The tunnel service accepts the token but does not give this URL."""


class EndpointInUse(EndpointUnavailable):
    """Another session has it; after a lost network that may be our own."""


class ModelUnavailable(UserActionRequired):
    """No such model, or one that may not be had with this engine or account."""


class PortInUse(UserActionRequired):
    """A port that was asked for is in use by another program."""


class ChecksumMismatch(UserActionRequired):
    """What arrives is not what was published, also from the first byte on."""


class VersionMismatch(UserActionRequired):
    """The running host speaks another protocol than the installed package."""


class NotebookUnsupported(AvocadoError):
    """This machine cannot do what was asked."""

    permanent = True


class DiskTooSmall(NotebookUnsupported):
    """An archive or a model does not fit on the disk."""


class MemoryTooSmall(NotebookUnsupported):
    """A model that RAM and VRAM together cannot hold."""


class PlatformUnsupported(NotebookUnsupported):
    """An operating system or a folder that cannot be used."""


class ComponentFailed(AvocadoError):
    """A supervised part fell over; it is retried with backoff."""


class EngineFailed(ComponentFailed):
    """``ollama serve`` did not start, died or does not answer."""


class DownloadFailed(ComponentFailed):
    """An archive, agent or blob did not arrive, or not whole."""


class GatewayFailed(ComponentFailed):
    """The authenticating proxy could not be opened."""


class TunnelFailed(ComponentFailed):
    """The agent or its endpoint failed."""


class TrafficPolicyRejected(TunnelFailed):
    """The tunnel service does not take, or not rightly, our rule for requests."""


class NetworkUnreachable(ComponentFailed):
    """Nothing out there answers."""


class DaemonUnreachable(AvocadoError):
    """The background process does not start or does not answer."""


class DaemonUnresponsive(DaemonUnreachable):
    """The background process lives, and does not answer in time."""


class Interrupted(AvocadoError, KeyboardInterrupt):
    """The user interrupted; what was begun and not yet ready was taken back."""


class StartTimeout(AvocadoError, TimeoutError):
    """Nothing moved for minutes; the host goes on trying."""


class InternalError(AvocadoError):
    """Our own mistake."""


_DISK_TAKES_NOTHING: Final = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def iter_error_classes(
    root: type[AvocadoError] = AvocadoError,
) -> Iterator[type[AvocadoError]]:
    """Yield the whole tree of error classes, the root first."""
    yield root
    for child in root.__subclasses__():
        yield from iter_error_classes(child)


def error_from_name(
    kind: str, problem: str, remedy: str, log_tail: Sequence[str] = ()
) -> AvocadoError:
    """Rebuild an error that crossed from the host, by the name of its class."""
    classes = {cls.__name__: cls for cls in iter_error_classes()}
    return classes.get(kind, InternalError)(problem, remedy, log_tail=log_tail)


def as_avocado_error(error: BaseException) -> AvocadoError:
    """Return our own errors as they are; any other one is a bug of ours.

    But for a disk that takes nothing more, which anything may run into.
    """
    if isinstance(error, AvocadoError):
        return error
    if isinstance(error, OSError) and error.errno in _DISK_TAKES_NOTHING:
        where = f"{error.filename}: " if error.filename else "A disk takes no more: "
        said = f"{where}{os.strerror(error.errno)}."
        if error.errno == errno.EROFS:
            return PlatformUnsupported(said, "Choose another folder, or mend the disk.")
        remedy = "Free some space there, then run %avocado_up again."
        return DiskTooSmall(said, remedy)
    return InternalError(
        f"Unexpected {type(error).__name__}: {error}",
        "Please report it: %avocado_doctor --report FILE writes what is needed. "
        "%avocado_up --restart usually helps.",
    )
