"""``doctor()``: run all checks in a process of its own, and write the report."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from ..config.settings import Endpoints
from ..config.timeouts import Timeouts
from ..config.tunnel import TUNNEL
from ..errors import DaemonUnreachable, SecretMissing, UsageError
from ..protocol.finding import Finding, broken
from ..protocol.json_codec import from_json, to_json
from ..system.platform_secrets import platform_secret
from ..system.processes import signal_group
from ..system.redaction import Redactor, Secret
from .launch import child_environment, rehearsal_requested

_TOKEN_VARIABLE: Final = TUNNEL.credential.variable


def doctor(
    *, rehearse: bool = False, report: str | Path | None = None
) -> tuple[Finding, ...]:
    """Check this machine and the service on it for every known problem.

    Blocks for as long as the slowest check, mostly seconds. Nothing is changed, and
    only the network hosts that the service needs are contacted.

    Args:
        rehearse: Whether to check the rehearsal's servers instead of the real hosts.
        report: File to write for a bug report: findings, versions, settings, state
            and logs, without secrets and names. It must not exist.

    Returns:
        A finding for each check, with status and remedy.

    Raises:
        UsageError: If the report cannot be written.
    """
    return run_doctor(
        rehearse=rehearse or rehearsal_requested(),
        report=None if report is None else Path(report),
        token=locate_token({}),
    )


def run_doctor(
    *,
    rehearse: bool,
    token: Mapping[str, Any],
    report: Path | None = None,
    sources: Endpoints | None = None,
    timeouts: Timeouts | None = None,
) -> tuple[Finding, ...]:
    """Do what ``doctor`` does, with the result of ``locate_token``.

    Raises:
        UsageError: If the report cannot be written.
    """
    timeouts = timeouts or Timeouts()
    if report is not None:
        report = report.expanduser().absolute()
        _require_new(report)
    request = {
        "rehearse": rehearse,
        "with_report": report is not None,
        "sources": to_json(sources or Endpoints(rehearsal=rehearse)),
        "timeouts": to_json(timeouts),
        "token": dict(token),
    }
    try:
        answer = _run_checks(json.dumps(request), timeouts.diagnosis_s)
    except DaemonUnreachable as error:
        redact = Redactor([str(token.get("text", ""))])
        failed = broken(redact(error.problem), error.remedy, name="doctor")
        if report is not None:
            findings = {"findings": {failed.name: to_json(failed)}}
            _write_new(report, json.dumps(findings, indent=2, ensure_ascii=False))
        return (failed,)
    if report is not None:
        text = json.dumps(answer["report"], indent=2, ensure_ascii=False)
        _write_new(report, text + "\n")
    return tuple(from_json(Finding, finding) for finding in answer["findings"])


def locate_token(
    namespace: Mapping[str, Any], given: str = "", origin: str = "--token"
) -> dict[str, Any]:
    """Return the tunnel's token as ``up`` would find it, with its origin.

    Args:
        namespace: The notebook's variables.
        given: A token to check instead of those in the usual places.
        origin: Where that one comes from, in plain words.

    Returns:
        ``text``, ``origin`` and ``is_api_key``; nothing if there is no token.
    """
    places: tuple[tuple[str, Callable[[], Any]], ...] = (
        (origin, lambda: given),
        (f"the variable {_TOKEN_VARIABLE}", lambda: namespace.get(_TOKEN_VARIABLE)),
        ("the environment", lambda: os.environ.get(_TOKEN_VARIABLE)),
        ("this platform's secrets", lambda: platform_secret(_TOKEN_VARIABLE)),
    )
    for where, look in places:
        try:
            found = look()
        except SecretMissing:  # withheld by the platform; ``up`` explains it
            continue
        text = (
            found.get_secret_value() if isinstance(found, Secret) else str(found or "")
        )
        if text:
            is_api_key = text == os.environ.get(TUNNEL.credential.other_variable)
            return {"text": text, "origin": where, "is_api_key": is_api_key}
    return {}


def _run_checks(request: str, wait_s: float) -> dict[str, Any]:
    """Run the checks in a process group that does not outlive this call.

    Raises:
        DaemonUnreachable: If the process fails, or takes too long.
    """
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "spicy_avocado_magic.doctor"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=child_environment(),
        cwd="/",
        start_new_session=True,
        text=True,
        errors="replace",
    )
    with process:
        try:
            output, errors = process.communicate(request + "\n", wait_s)
        except subprocess.TimeoutExpired:
            raise DaemonUnreachable(
                f"The checks took longer than {wait_s:g} s and were stopped.",
                "Run %avocado_doctor again; if that fails, restart the runtime.",
            ) from None
        finally:
            # Ends the processes that a check has started, too.
            signal_group(process.pid, signal.SIGKILL)
    try:
        # The last line: a library may have printed something before it.
        answer: dict[str, Any] = json.loads(output.strip().rpartition("\n")[2])
    except ValueError:
        status = f"exit code {process.returncode}"
        reason = errors.strip().rpartition("\n")[2] or status
        raise DaemonUnreachable(
            f"The checks could not be run: {reason}.",
            "Run %pip install -U spicy-avocado-magic, then restart the kernel.",
        ) from None
    return answer


def _require_new(path: Path) -> None:
    if path.exists() or path.is_symlink():
        raise UsageError(
            f"{path} already exists; it was not changed.",
            "Name another file for --report, or remove this one first.",
        )
    if not path.parent.is_dir():
        raise UsageError(
            f"There is no folder {path.parent}.", "Create it, or name another file."
        )


def _write_new(path: Path, text: str) -> None:
    """Create a file that only its owner can read.

    Raises:
        UsageError: If it exists, or cannot be written.
    """
    is_created = False
    try:
        with open(path, "x", encoding="utf-8", opener=_open_private) as file:
            is_created = True
            file.write(text)
    except FileExistsError:
        _require_new(path)
        raise
    except OSError as error:
        if is_created:
            path.unlink(missing_ok=True)
        raise UsageError(
            f"{path} cannot be written: {error.strerror}.", "Name another file."
        ) from error


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)
