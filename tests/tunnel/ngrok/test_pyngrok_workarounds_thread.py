"""Blocking calls beside the event loop."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from spicy_avocado_magic.tunnel.ngrok.pyngrok_workarounds import in_daemon_thread


async def test_result_and_error_come_back() -> None:
    """The caller gets what the call returned or raised."""
    assert await in_daemon_thread(lambda: 42) == 42
    with pytest.raises(ZeroDivisionError):
        await in_daemon_thread(lambda: 1 // 0)


async def test_the_loop_goes_on_and_the_program_may_end() -> None:
    """The call blocks neither the loop nor the interpreter's end."""
    go_on = threading.Event()
    call = in_daemon_thread(go_on.wait)
    await asyncio.sleep(0)
    assert all(t.daemon for t in threading.enumerate() if t.name == "pyngrok")
    go_on.set()
    assert await call is True


async def test_a_caller_that_gave_up_is_not_disturbed() -> None:
    """A result that comes after the cancellation is dropped."""
    go_on, ended = threading.Event(), threading.Event()
    troubles: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: troubles.append(context))

    def work() -> None:
        go_on.wait()
        ended.set()

    call = in_daemon_thread(work)
    call.cancel()
    go_on.set()
    await asyncio.to_thread(ended.wait)
    await asyncio.sleep(0.01)
    assert call.cancelled()
    assert troubles == []


def test_a_call_may_outlive_its_loop() -> None:
    """Coming back to a loop that was closed is no error."""
    threads: list[threading.Thread] = []

    def work() -> None:
        threads.append(threading.current_thread())
        time.sleep(0.05)

    async def start() -> None:
        _left_alone = in_daemon_thread(work)
        while not threads:  # noqa: ASYNC110  (the thread has no event to wait for)
            await asyncio.sleep(0.001)

    asyncio.run(start())
    threads[0].join()
