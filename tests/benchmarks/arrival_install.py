"""CPU of our install alone: ``python -m … RELEASES_URL CACHE`` prints its seconds.

The libraries of an NVIDIA GPU are kept, which are most of what there is to write.
The seconds that Python spends on importing are left out.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from spicy_avocado_magic.engine.install import install
from spicy_avocado_magic.host.engine_life import NVIDIA_LIBRARIES
from spicy_avocado_magic.policy import Policy


def main(releases_url: str, cache: Path) -> None:
    """Install once and print user and system seconds, of all threads."""
    before = time.process_time()
    asyncio.run(
        install(
            "",
            releases_url=releases_url,
            cache=cache,
            policy=Policy(),
            gpu_libraries=NVIDIA_LIBRARIES,
            on_progress=lambda _done, _total: None,
            on_detail=lambda _text: None,
        )
    )
    sys.stdout.write(f"{time.process_time() - before:.3f}\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
