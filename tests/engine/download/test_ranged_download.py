"""Several connections, and what becomes of each."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.engine.download import ranged_download as module
from spicy_avocado_magic.engine.download import window
from spicy_avocado_magic.engine.download.partial_file import PartialFile
from spicy_avocado_magic.engine.download.ranged_download import (
    CONNECTIONS,
    download_ranges,
)
from spicy_avocado_magic.engine.download.retry import RetryableError
from spicy_avocado_magic.errors import DownloadFailed
from tests.machine_speed import scaled

from ..conftest import Serve
from ..file_host import FileHost

SEGMENT = 1 << 14
WINDOW = 16 * SEGMENT
CONTENT = random.Random(2).randbytes(100 * SEGMENT + 77)


@pytest.fixture(autouse=True)
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make segments small, so that a small file has many."""
    monkeypatch.setattr(window, "SEGMENT_BYTES", SEGMENT)
    monkeypatch.setattr(window, "WINDOW_BYTES", WINDOW)


@pytest.fixture
def patient(timeouts: Timeouts) -> Timeouts:
    """Return time-outs in which only the comparison of rates ends a request."""
    return replace(timeouts, stall_s=60.0, slow_s=0.1)


async def bring(
    url: str,
    folder: Path,
    timeouts: Timeouts,
    *,
    size: int | None = None,
    on_progress: Callable[[int, int], None] = lambda *_: None,
) -> bytes:
    """Transfer the file and return what arrived."""
    part = PartialFile(folder / "file", size, None)
    try:
        async with asyncio.timeout(scaled(20)):
            await download_ranges(
                f"{url}/file", part, timeouts=timeouts, on_progress=on_progress
            )
    finally:
        part.close()
    return part.path.read_bytes()


@pytest.mark.parametrize("size", [None, len(CONTENT)])
async def test_several_connections_share_a_file(
    tmp_path: Path, serve: Serve, timeouts: Timeouts, size: int | None
) -> None:
    """Each byte is requested once, by many connections, and is written in order."""
    all_there = asyncio.Event()
    host = FileHost(CONTENT, holding=dict.fromkeys(range(1, CONNECTIONS), all_there))
    url = await serve(host.application())
    bringing = asyncio.create_task(
        bring(url, tmp_path, replace(timeouts, stall_s=60), size=size)
    )
    async with asyncio.timeout(scaled(5)):
        await host.until(lambda: host.active >= CONNECTIONS - 1)
    all_there.set()
    assert await bringing == CONTENT
    assert sorted(host.starts) == list(range(0, len(CONTENT), SEGMENT))
    assert host.sent == len(CONTENT)


async def test_a_small_file_costs_one_request(
    tmp_path: Path, serve: Serve, timeouts: Timeouts
) -> None:
    """A file within one segment needs no more connections."""
    host = FileHost(CONTENT[:100])
    assert await bring(await serve(host.application()), tmp_path, timeouts)
    assert len(host.ranges) == 1


async def test_no_more_than_a_window_is_requested_beyond_the_disk(
    tmp_path: Path, serve: Serve, timeouts: Timeouts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the disk is blocked, memory holds at most a window."""
    disk = threading.Event()
    write = PartialFile.write

    def wait_and_write(part: PartialFile, block: bytes) -> None:
        disk.wait()
        write(part, block)

    monkeypatch.setattr(PartialFile, "write", wait_and_write)
    host = FileHost(CONTENT)
    url = await serve(host.application())
    bringing = asyncio.create_task(bring(url, tmp_path, timeouts))
    await host.until(lambda: host.sent >= WINDOW)
    # Whoever would ask for more has had its turns by now.
    for _ in range(100):
        await asyncio.sleep(0)
    assert max(host.stops) == WINDOW
    disk.set()
    assert await bringing == CONTENT


async def test_bytes_beyond_the_requested_range_are_dropped(
    tmp_path: Path, serve: Serve, timeouts: Timeouts
) -> None:
    """A server that ignores the end of a range does not add bytes twice."""
    all_there, progress = asyncio.Event(), [0]
    holding = dict.fromkeys(range(CONNECTIONS), all_there)
    host = FileHost(CONTENT, ignores_ends=True, holding=holding)
    url = await serve(host.application())
    bringing = asyncio.create_task(
        bring(
            url,
            tmp_path,
            replace(timeouts, stall_s=60),
            on_progress=lambda done, _total: progress.append(done),
        )
    )
    await host.until(lambda: host.active == CONNECTIONS)
    all_there.set()
    assert await bringing == CONTENT
    assert max(progress) == len(CONTENT), "some bytes came twice"


async def test_a_server_that_sends_all_at_once_does_not_fill_the_memory(
    tmp_path: Path, serve: Serve, timeouts: Timeouts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory holds at most a window without ranges too."""
    disk, full, progress = threading.Event(), asyncio.Event(), [0]
    write = PartialFile.write

    def wait_and_write(part: PartialFile, block: bytes) -> None:
        disk.wait()
        write(part, block)

    def note(done: int, _total: int) -> None:
        progress.append(done)
        if done >= WINDOW:
            full.set()

    monkeypatch.setattr(PartialFile, "write", wait_and_write)
    content = bytes(20 << 20)
    host = FileHost(content, knows_ranges=False)
    url = await serve(host.application())
    bringing = asyncio.create_task(
        bring(url, tmp_path, replace(timeouts, stall_s=60), on_progress=note)
    )
    await full.wait()
    # Whoever would read on has had its turns by now.
    for _ in range(100):
        await asyncio.sleep(0)
    assert max(progress) < WINDOW + (2 << 20)
    disk.set()
    assert await bringing == content


async def test_a_whole_file_in_place_of_a_later_range_is_refused(
    tmp_path: Path, serve: Serve, timeouts: Timeouts
) -> None:
    """One server of many without ranges does not undo the progress."""
    host = FileHost(CONTENT, forgets_ranges={5, 6})
    assert await bring(await serve(host.application()), tmp_path, timeouts) == CONTENT
    assert "" not in host.ranges, "all was asked for again"


async def test_a_slow_connection_does_not_delay_the_others(
    tmp_path: Path, serve: Serve, timeouts: Timeouts
) -> None:
    """Early bytes wait in memory for late ones."""
    late = asyncio.Event()
    host = FileHost(CONTENT, holding={1: late})
    url = await serve(host.application())
    bringing = asyncio.create_task(bring(url, tmp_path, replace(timeouts, stall_s=60)))
    await host.until(lambda: max(host.stops, default=0) >= WINDOW)
    late.set()
    assert await bringing == CONTENT


async def test_broken_connections_continue_where_they_stopped(
    tmp_path: Path, serve: Serve, timeouts: Timeouts
) -> None:
    """Many cuts cost only the bytes in transmission."""
    host = FileHost(CONTENT, cut_after=[SEGMENT // 2] * 60)
    assert await bring(await serve(host.application()), tmp_path, timeouts) == CONTENT
    assert host.starts.count(SEGMENT // 2) == 1, "it began the segment again"
    assert host.sent <= len(CONTENT) + 60 * SEGMENT // 2


async def test_a_stalled_connection_is_replaced_while_others_move(
    tmp_path: Path, serve: Serve, patient: Timeouts
) -> None:
    """The bytes of a stalled connection are kept."""
    host = FileHost(CONTENT, stall_after=[1000])
    assert await bring(await serve(host.application()), tmp_path, patient) == CONTENT
    assert 1000 in {start % SEGMENT for start in host.starts}


async def test_a_collapsed_connection_is_replaced(
    tmp_path: Path, serve: Serve, patient: Timeouts
) -> None:
    """A connection far slower than the others is replaced by a new one."""
    host = FileHost(CONTENT, trickling={4})
    assert await bring(await serve(host.application()), tmp_path, patient) == CONTENT
    again = [start for start in host.starts if start % SEGMENT]
    assert len(again) == 1, f"replaced: {again}"


async def test_a_link_that_is_slow_as_a_whole_is_left_alone(
    tmp_path: Path, serve: Serve, patient: Timeouts
) -> None:
    """A new connection would not be faster."""
    content = CONTENT[: 3 * SEGMENT]
    host = FileHost(content, trickling=set(range(3)))
    bringing = asyncio.create_task(
        bring(await serve(host.application()), tmp_path, patient)
    )
    await host.until(lambda: host.sent >= 600)
    assert len(host.ranges) == 3
    bringing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await bringing


@pytest.mark.parametrize("most", [1, 3])
async def test_a_server_that_refuses_connections_gets_fewer(
    tmp_path: Path, serve: Serve, timeouts: Timeouts, most: int
) -> None:
    """Refused connections pause, and the others transfer the file."""
    host = FileHost(CONTENT, most_at_once=most, takes_s=0.005)
    url = await serve(host.application())
    calm = replace(timeouts, backoff_max_s=15)
    assert await bring(url, tmp_path, calm) == CONTENT
    refused = len(host.ranges) - len({*host.starts})
    assert 0 < refused <= CONNECTIONS, f"it was refused {refused} times"


async def test_retry_after_is_respected(
    tmp_path: Path, serve: Serve, timeouts: Timeouts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A single connection waits as requested, within bounds."""
    pauses: list[float] = []

    async def keep_trying(attempt: object, **_: object) -> None:
        try:
            await attempt()  # type: ignore[operator]
        except RetryableError as interrupted:
            pauses.append(interrupted.pause_s)
            raise interrupted.error from None

    monkeypatch.setattr(module, "retry_while_progressing", keep_trying)
    host = FileHost(CONTENT, statuses=[503], retry_after="7")
    with pytest.raises(DownloadFailed, match="503"):
        await bring(await serve(host.application()), tmp_path, timeouts)
    assert pauses == [7.0]


async def test_a_redirect_is_followed_once_and_carries_no_credentials(
    tmp_path: Path, serve: Serve, timeouts: Timeouts
) -> None:
    """Later requests go straight to the other host, without the first one's login."""
    files = FileHost(CONTENT)
    target = (await serve(files.application())).replace("127.0.0.1", "localhost")
    front = FileHost(b"", leads_to=lambda: f"{target}/file?signature=a%2Fb")
    url = (await serve(front.application())).replace("//", "//user:secret@")
    assert await bring(url, tmp_path, timeouts) == CONTENT
    assert len(front.ranges) == 1, "each segment asked the first host again"
    assert front.authorizations[0].startswith("Basic ")
    assert set(files.authorizations) == {""}, "the login went to another host"


async def test_an_expired_redirect_is_requested_again(
    tmp_path: Path, serve: Serve, timeouts: Timeouts
) -> None:
    """The source gives a new target when the old one refuses."""
    gone = FileHost(CONTENT, good_for=5)
    gone_url = await serve(gone.application())
    fresh_url = await serve(FileHost(CONTENT).application())
    targets = iter([gone_url])
    front = FileHost(b"", leads_to=lambda: f"{next(targets, fresh_url)}/file")
    assert await bring(await serve(front.application()), tmp_path, timeouts) == CONTENT
    assert len(gone.ranges) > 5, "nothing was refused"
    assert len(front.ranges) > 1, "the source was not asked again"


async def test_a_refusal_of_any_connection_ends_the_download(
    tmp_path: Path, serve: Serve, timeouts: Timeouts
) -> None:
    """A file that disappears during the download is an error."""
    late = asyncio.Event()
    host = FileHost(CONTENT, holding={0: late})
    url = await serve(host.application())
    bringing = asyncio.create_task(bring(url, tmp_path, replace(timeouts, stall_s=60)))
    await host.until(lambda: bool(host.ranges))
    host.statuses[:] = [404] * CONNECTIONS
    late.set()
    with pytest.raises(DownloadFailed, match="HTTP 404"):
        await bringing
