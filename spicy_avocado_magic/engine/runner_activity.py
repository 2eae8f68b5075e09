"""What the engine's runners do, told from outside: a hung one does nothing at all."""

from __future__ import annotations

import contextlib

import psutil


def runner_activity(pid: int) -> tuple[tuple[int, float, int], ...]:
    """Return what each child of the engine has done so far, in an order that stays.

    It is the same twice only if none of them has used any CPU or read anything in
    between; a model that is being loaded reads, one that speaks computes. The engine
    itself is left out, since it answers health checks all the time.

    Returns:
        Pid, seconds of CPU and count of reads (0 where the system does not tell) of
        each; empty without a runner, and while one waits for a disk: pages of a model
        on a slow mounted drive are read without a call that would be counted.
    """
    found = []
    try:
        runners = psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return ()
    for runner in runners:
        with contextlib.suppress(psutil.Error):
            if runner.status() == psutil.STATUS_DISK_SLEEP:
                return ()
            used = runner.cpu_times()
            reads = 0
            with contextlib.suppress(psutil.Error, AttributeError):
                reads = runner.io_counters().read_count
            found.append((runner.pid, used.user + used.system, reads))
    return tuple(sorted(found))
