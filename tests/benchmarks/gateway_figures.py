"""From what each round saw to the table and the JSON line."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

IN_JSON: Final = {
    "ttft_added_ms_p50": "added TTFT p50, idle (ms)",
    "ttft_added_ms_p99": "added TTFT p99, idle (ms)",
    "cpu_us_per_chunk": "CPU per chunk, 64 streams (us)",
    "rps": "short requests/s, 32 connections",
    "kib_per_stream": "memory per idle stream, 500 (KiB)",
}
"""The keys of the JSON line, and the rows which they are taken from."""

_DIRECT: Final = "direct"


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value that this share of the others does not exceed (nearest rank).

    Raises:
        ValueError: If there is no value.
    """
    if not values:
        raise ValueError("no value was measured")
    ordered = sorted(values)
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(int(rank), 1) - 1]


@dataclass(slots=True)
class Figures:
    """One value a round for each row and peer.

    Attributes:
        rows: ``{row: {peer: values}}``, in the order of their first coming.
    """

    rows: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def add(self, row: str, peer: str, value: float) -> None:
        """Take in a round's value."""
        self.rows.setdefault(row, {}).setdefault(peer, []).append(value)

    def add_latencies(self, row: str, seen_ms: dict[str, list[float]]) -> None:
        """Take in p50 and p99 of a round: direct's own, and what each other adds.

        Args:
            row: Its name, with ``{}`` where the percentile goes.
            seen_ms: What was seen through each peer; nothing is added without direct.
        """
        direct = seen_ms.get(_DIRECT)
        for percent in (50, 99) if direct else ():
            base = percentile(direct or (), percent)
            for peer, values in seen_ms.items():
                added = percentile(values, percent) - (base if peer != _DIRECT else 0)
                self.add(row.format(f"p{percent}"), peer, added)

    def table(self, peers: Sequence[str]) -> str:
        """Return a Markdown table of medians with their least and greatest value.

        What direct has in a row of what is added is its own whole.
        """
        head = ["", *peers, "gateway ÷ caddy"]
        lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
        for row, values in self.rows.items():
            cells = [_cell(values.get(peer)) for peer in peers]
            cells.append(self._ratio(values))
            lines.append(f"| {row} | {' | '.join(cells)} |")
        return "\n".join(lines)

    def json_object(self, peers: Sequence[str]) -> dict[str, dict[str, float | None]]:
        """Return the medians of each proxy under the names that are relied upon."""
        return {
            peer: {key: self._median(row, peer) for key, row in IN_JSON.items()}
            for peer in peers
            if peer != _DIRECT
        }

    def _median(self, row: str, peer: str) -> float | None:
        values = self.rows.get(row, {}).get(peer)
        return round(statistics.median(values), 3) if values else None

    @staticmethod
    def _ratio(values: dict[str, list[float]]) -> str:
        if not {"gateway", "caddy"} <= set(values):
            return ""
        other = statistics.median(values["caddy"])
        ours = statistics.median(values["gateway"])
        return f"{ours / other:.2f}" if other > 0 and ours >= 0 else ""


def _cell(values: list[float] | None) -> str:
    if not values:
        return ""
    median = statistics.median(values)
    digits = 0 if abs(median) >= 1000 else 1 if abs(median) >= 10 else 2
    low, high = min(values), max(values)
    if len(values) == 1:
        return f"{median:.{digits}f}"
    return f"{median:.{digits}f} ({low:.{digits}f}..{high:.{digits}f})"
