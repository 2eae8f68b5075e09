"""Downloads over a network that breaks."""

from __future__ import annotations

import asyncio
import hashlib
import random
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.engine.download.http import status_of
from spicy_avocado_magic.engine.download.partial_file import PartialFile
from spicy_avocado_magic.engine.download.verified_download import (
    download_file,
)
from spicy_avocado_magic.errors import (
    ChecksumMismatch,
    DiskTooSmall,
    DownloadFailed,
    NetworkUnreachable,
)
from tests.machine_speed import scaled

from ..conftest import Serve
from ..file_host import FileHost

CONTENT = random.Random(1).randbytes(600_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
Usage = namedtuple("Usage", "total used free")  # noqa: PYI024  (as in shutil)


class Download:
    """A download of one file and its reported progress."""

    def __init__(self, folder: Path, timeouts: Timeouts) -> None:
        self.path = folder / "deep" / "file.bin"
        self.part = self.path.with_name("file.bin.part")
        self.progress: list[tuple[int, int]] = []
        self._timeouts = timeouts

    async def run(
        self, base_url: str, *, sha256: str | None = SHA256, size: int | None = None
    ) -> None:
        """Fetch it."""
        await download_file(
            f"{base_url}/file",
            self.path,
            size=size,
            sha256=sha256,
            timeouts=self._timeouts,
            on_progress=self._note,
        )

    def _note(self, done: int, total: int) -> None:
        self.progress.append((done, total))


@pytest.fixture
def download(tmp_path: Path, timeouts: Timeouts) -> Download:
    """Return a download that has not begun."""
    return Download(tmp_path, timeouts)


async def test_a_complete_file_gets_its_name_and_leaves_no_partial_file(
    download: Download, serve: Serve
) -> None:
    """The file has its bytes, and the final progress is reported."""
    await download.run(await serve(FileHost(CONTENT).application()))
    assert download.path.read_bytes() == CONTENT
    assert not download.part.exists(), "the part was left behind"
    assert download.progress[-1] == (len(CONTENT), len(CONTENT))


async def test_a_broken_connection_is_resumed(download: Download, serve: Serve) -> None:
    """No byte is requested again after a cut."""
    host = FileHost(CONTENT, cut_after=[200_000])
    await download.run(await serve(host.application()))
    assert download.path.read_bytes() == CONTENT
    first, begun = host.starts
    assert first == 0, "one cut costs one more connection"
    assert 0 < begun <= 200_000, f"resumed at {begun}"


async def test_any_number_of_cuts_is_survived_while_bytes_arrive(
    download: Download, serve: Serve
) -> None:
    """Failures are forgotten once bytes arrive again."""
    host = FileHost(CONTENT, cut_after=[50_000] * 10)
    await download.run(await serve(host.application()))
    assert download.path.read_bytes() == CONTENT
    assert len(host.ranges) == 11


async def test_a_stalled_connection_is_replaced(
    download: Download, serve: Serve
) -> None:
    """A stall ends the connection, not the download."""
    host = FileHost(CONTENT, stall_after=[100_000])
    await download.run(await serve(host.application()))
    assert download.path.read_bytes() == CONTENT
    assert host.starts == [0, 100_000]


async def test_a_later_call_resumes_the_partial_file(
    download: Download, serve: Serve
) -> None:
    """The bytes of a killed daemon are hashed and not downloaded again."""
    download.part.parent.mkdir()
    download.part.write_bytes(CONTENT[:300_000])
    host = FileHost(CONTENT)
    await download.run(await serve(host.application()))
    assert host.starts == [300_000]
    assert download.path.read_bytes() == CONTENT


async def test_a_complete_partial_file_is_verified_without_a_request(
    download: Download, serve: Serve
) -> None:
    """Only the rename is missing."""
    download.part.parent.mkdir()
    download.part.write_bytes(CONTENT)
    host = FileHost(CONTENT)
    await download.run(await serve(host.application()), size=len(CONTENT))
    assert host.ranges == []
    assert download.path.exists()


@pytest.mark.parametrize("is_chunked", [False, True])
async def test_a_server_without_ranges_starts_over(
    download: Download, serve: Serve, *, is_chunked: bool
) -> None:
    """A 200 response to a range replaces the partial file."""
    download.part.parent.mkdir()
    download.part.write_bytes(b"x" * 1000)
    host = FileHost(
        CONTENT, cut_after=[200_000], knows_ranges=False, is_chunked=is_chunked
    )
    await download.run(await serve(host.application()))
    assert download.path.read_bytes() == CONTENT
    assert host.ranges[1:] == [""], "a range was asked for again"


async def test_a_range_other_than_the_requested_is_refused(
    download: Download, serve: Serve
) -> None:
    """Bytes from another offset never get into the file."""
    host = FileHost(CONTENT, shifted_by=5)
    await download.run(await serve(host.application()))
    assert host.ranges[-1] == "", "it was not asked for the whole instead"
    assert download.path.read_bytes() == CONTENT


async def test_a_range_past_the_end_starts_over(
    download: Download, serve: Serve
) -> None:
    """A partial file that the server cannot continue (416) is dropped."""
    download.part.parent.mkdir()
    download.part.write_bytes(b"x" * 10)
    host = FileHost(CONTENT, statuses=[416])
    await download.run(await serve(host.application()))
    assert host.starts == [10]
    assert host.ranges[1] == ""
    assert download.path.read_bytes() == CONTENT


async def test_a_complete_partial_file_of_unknown_size_is_not_downloaded_again(
    download: Download, serve: Serve
) -> None:
    """A 416 with the partial file's own size means that it is complete."""
    download.part.parent.mkdir()
    download.part.write_bytes(CONTENT)
    host = FileHost(CONTENT)
    await download.run(await serve(host.application()))
    assert host.starts == [len(CONTENT)]
    assert download.path.read_bytes() == CONTENT


async def test_a_request_to_a_busy_server_is_retried(
    download: Download, serve: Serve
) -> None:
    """429 and 503 are temporary."""
    host = FileHost(CONTENT, statuses=[503, 429])
    await download.run(await serve(host.application()))
    assert download.path.exists()


async def test_a_404_is_not_retried(download: Download, serve: Serve) -> None:
    """A 404 ends the download at once, and its status is available."""
    host = FileHost(CONTENT, statuses=[404])
    with pytest.raises(DownloadFailed, match="HTTP 404") as caught:
        await download.run(await serve(host.application()))
    assert status_of(caught.value) == 404
    assert len(host.ranges) == 1


async def test_a_wrong_checksum_twice_gives_no_file(
    download: Download, serve: Serve
) -> None:
    """Damaged bytes are not kept as file or partial file."""
    host = FileHost(CONTENT)
    url = await serve(host.application())
    with pytest.raises(ChecksumMismatch, match="twice with a wrong checksum") as caught:
        await download.run(url, sha256="0" * 64)
    assert caught.value.permanent, "it would be fetched again and again"
    assert host.starts == [0, 0], "it is fetched twice, and not more often"
    assert not download.path.exists(), "a damaged file got its name"
    assert not download.part.exists(), "a damaged part would be resumed"


async def test_a_damaged_partial_file_is_downloaded_again(
    download: Download, serve: Serve
) -> None:
    """An earlier daemon's bytes may be wrong; the second attempt starts at 0."""
    download.part.parent.mkdir()
    download.part.write_bytes(b"x" * 300_000)
    host = FileHost(CONTENT)
    await download.run(await serve(host.application()))
    assert host.starts == [300_000, 0]
    assert download.path.read_bytes() == CONTENT


async def test_a_corrupt_byte_is_a_checksum_mismatch(
    download: Download, serve: Serve
) -> None:
    """One changed bit is a wrong checksum."""
    corrupt = bytearray(CONTENT)
    corrupt[len(CONTENT) // 2] ^= 1
    with pytest.raises(ChecksumMismatch):
        await download.run(await serve(FileHost(bytes(corrupt)).application()))


async def test_a_file_that_stays_short_is_given_up(
    download: Download, serve: Serve
) -> None:
    """A connection that always ends without a byte is not retried for ever."""
    host = FileHost(CONTENT, cut_after=[0] * 50)
    with pytest.raises(DownloadFailed):
        await download.run(await serve(host.application()), size=len(CONTENT))
    assert len(host.ranges) < 10
    assert not download.path.exists()


@pytest.mark.parametrize("knows_ranges", [True, False])
async def test_a_file_of_another_size_is_refused(
    download: Download, serve: Serve, *, knows_ranges: bool
) -> None:
    """A server that announces another size has another file."""
    host = FileHost(CONTENT, knows_ranges=knows_ranges)
    with pytest.raises(DownloadFailed, match="should have 5 bytes"):
        await download.run(await serve(host.application()), size=5)
    assert len(host.ranges) == 1


async def test_a_refused_connection_is_a_network_error(
    download: Download, unused_tcp_port: int
) -> None:
    """A refused connection names the host and what to check."""
    with pytest.raises(
        NetworkUnreachable, match=r"127\.0\.0\.1 refuses the connection"
    ):
        await download.run(f"http://127.0.0.1:{unused_tcp_port}")


async def test_no_proxy_is_used_for_loopback(
    download: Download, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proxy variables do not apply to loopback."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    await download.run(await serve(FileHost(CONTENT).application()))
    assert download.path.exists()


async def test_the_proxy_is_used_for_other_hosts(
    download: Download, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy here does not exist, so the download fails."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with pytest.raises(NetworkUnreachable) as caught:
        await download.run("http://releases.example")
    assert "127.0.0.1" in repr(caught.value.__cause__), "no proxy was asked"


@pytest.mark.parametrize("size", [None, len(CONTENT)])
async def test_a_small_disk_is_an_error_before_the_first_byte(
    download: Download,
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
    size: int | None,
) -> None:
    """The message names the folder, the bytes needed and the bytes free."""
    usage = Usage(total=10**9, used=10**9, free=1 << 18)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    host = FileHost(CONTENT)
    with pytest.raises(DiskTooSmall, match=r"deep needs 600\.0 kB, but only 262\.1 kB"):
        await download.run(await serve(host.application()), size=size)
    assert download.part.stat().st_size == 0


async def test_a_disk_that_fills_up_is_an_error(
    download: Download, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed write is not a network error."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(
        "spicy_avocado_magic.engine.download.partial_file.PartialFile.write", full
    )
    with pytest.raises(DiskTooSmall, match="is full"):
        await download.run(await serve(FileHost(CONTENT).application()))


async def test_a_cancellation_keeps_the_partial_file(
    download: Download, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cancelled download ends at once and can be resumed."""
    host = FileHost(CONTENT, stall_after=[100_000])
    url = await serve(host.application())
    arrived, write = asyncio.Event(), PartialFile.write
    loop = asyncio.get_running_loop()

    def write_and_signal(part: PartialFile, block: bytes) -> None:
        write(part, block)
        loop.call_soon_threadsafe(arrived.set)

    monkeypatch.setattr(PartialFile, "write", write_and_signal)
    task = asyncio.create_task(download.run(url))
    async with asyncio.timeout(scaled(2)):
        await arrived.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    kept = download.part.stat().st_size
    assert 0 < kept <= 100_000, "what had come was lost"
    await download.run(url)
    assert host.starts[-1] == kept
