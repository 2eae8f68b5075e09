"""Peak memory of a release download, measured in a process of its own."""

from __future__ import annotations

import asyncio
import hashlib
import io
import random
import sys
import tarfile
from pathlib import Path

import pytest
import zstandard

from spicy_avocado_magic.engine.download.window import (
    SEGMENT_BYTES,
    WINDOW_BYTES,
)

from .conftest import Serve
from .file_host import FileHost

MEBI = 1 << 20

# Not by ru_maxrss: a child begins with the peak of the process that it was made by.
INSTALL = """
import asyncio, re, sys
from pathlib import Path
from spicy_avocado_magic.engine.install.release_download import ReleaseDownload
from spicy_avocado_magic.engine.install.release import Archive
from spicy_avocado_magic.config.timeouts import Timeouts

url, digest, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
archive = Archive(url=url, name="a.tar.zst", version="0.34.1")
arrival = ReleaseDownload(archive, digest, folder / "a", folder / "home", frozenset())
asyncio.run(arrival.run(Timeouts(), lambda done, total: None))
status = Path("/proc/self/status").read_text()
print(re.search(r"VmHWM:\\s+(\\d+) kB", status)[1])
"""


def release(window_log: int) -> bytes:
    """Return an archive of 230 MiB with a window of this size."""
    noise = random.Random(1)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, content in (
            ("bin/ollama", noise.randbytes(70 * MEBI)),
            ("lib/ollama/libggml.so", noise.randbytes(MEBI) * 160),
        ):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    parameters = zstandard.ZstdCompressionParameters(
        window_log=window_log, chain_log=6, hash_log=20
    )
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    packed = stream.compress(archive.getvalue()) + stream.flush()
    assert zstandard.get_frame_parameters(packed).window_size == 1 << window_log
    return packed


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(("window_log", "most_mb"), [(23, 150), (27, 300)])
async def test_a_release_arrives_in_bounded_memory(
    tmp_path: Path, serve: Serve, window_log: int, most_mb: int
) -> None:
    """The bound holds while the whole window waits for its first bytes."""
    content = release(window_log)
    late = asyncio.Event()
    # The first request learns the size; the second segment is what all wait for.
    host = FileHost(content, holding={1: late})
    url = f"{await serve(host.application())}/file"
    digest = hashlib.sha256(content).hexdigest()
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", INSTALL, url, digest, str(tmp_path)),
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    await host.until(lambda: max(host.stops, default=0) >= WINDOW_BYTES)
    await host.until(lambda: host.sent >= WINDOW_BYTES - 2 * SEGMENT_BYTES)
    late.set()
    output, _ = await child.communicate()
    assert child.returncode == 0
    peak_mb = int(output) * 1024 / 1e6
    assert peak_mb <= most_mb, f"{peak_mb:.0f} MB"
