"""What a child says to the host, line by line."""

from __future__ import annotations

from pathlib import Path

from spicy_avocado_magic.bounded_file import MOST_BYTES
from spicy_avocado_magic.host.context import Log
from spicy_avocado_magic.secrets import Redactor


def test_lines_are_stamped_plain_and_without_secrets(tmp_path: Path) -> None:
    """Each of several lines on its own, in UTC."""
    log = Log(tmp_path / "agent.log", Redactor(["token-of-somebody"]))
    log("one \x1b[31mtoken-of-somebody\ntwo")
    one, two = log.tail(5)
    assert one.endswith("Z one •••")
    assert two.endswith("Z two")


def test_a_full_disk_does_not_end_what_is_told_of(tmp_path: Path) -> None:
    """The agent's words are lost, and the tunnel goes on."""
    log = Log(tmp_path / "absent" / "agent.log", Redactor())
    log("lost")
    assert log.tail(5) == []


def test_a_flood_does_not_fill_the_disk(tmp_path: Path) -> None:
    """The last lines are kept, in a file and its backup."""
    log = Log(tmp_path / "agent.log", Redactor())
    for number in range(150):
        log(f"{number} {'x' * 100_000}")
    used = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert used < 2.2 * MOST_BYTES, f"{used} bytes are on disk"
    assert log.tail(1)[0].split()[1] == "149"
