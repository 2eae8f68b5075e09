"""The benchmark's sums: a wrong one would pass for a fast or a slow gateway."""

from __future__ import annotations

import pytest

from .gateway_figures import IN_JSON, Figures, percentile


@pytest.mark.parametrize(
    ("percent", "expected"), [(50, 50), (99, 99), (100, 100), (1, 1), (0.5, 1)]
)
def test_a_percentile_is_the_nearest_rank(percent: float, expected: int) -> None:
    """Of 1 … 100 in any order, the p-th percentile is p."""
    values = [float(value) for value in reversed(range(1, 101))]
    found = percentile(values, percent)
    assert found == expected, f"p{percent} is {found}"


def test_a_percentile_of_nothing_is_an_error() -> None:
    """A case that measured nothing must not count as zero milliseconds."""
    with pytest.raises(ValueError, match="no value"):
        percentile([], 50)


def test_the_cost_of_a_proxy_is_relative_to_direct_in_the_same_round() -> None:
    """Direct keeps its own whole; the others are what they add to it, each round."""
    figures = Figures()
    figures.add_latencies("added {}", {"direct": [1.0], "gateway": [1.5]})
    figures.add_latencies("added {}", {"gateway": [4.0], "direct": [3.0]})
    expected = {"direct": [1.0, 3.0], "gateway": [0.5, 1.0]}
    assert figures.rows == {"added p50": expected, "added p99": expected}, (
        "what is added is not the difference within a round"
    )


def test_nothing_is_added_without_direct() -> None:
    """Whole times must not pass for added ones."""
    figures = Figures()
    figures.add_latencies("added {}", {"gateway": [1.5]})
    assert figures.rows == {}, "a whole time is in a row of added ones"


def test_the_json_line_holds_medians_under_the_agreed_names() -> None:
    """Each proxy has every key, null where it was not measured; direct is none."""
    figures = Figures()
    for value in (9.0, 1.0, 2.0):
        figures.add(IN_JSON["rps"], "gateway", value)
    figures.add(IN_JSON["rps"], "direct", 100.0)
    assert figures.json_object(["direct", "gateway"]) == {
        "gateway": {
            "ttft_added_ms_p50": None,
            "ttft_added_ms_p99": None,
            "cpu_us_per_chunk": None,
            "rps": 2.0,
            "kib_per_stream": None,
        }
    }, "the JSON line is not what is relied upon"


def test_the_table_has_median_spread_and_ratio() -> None:
    """A row shows median, least and greatest, and ours in terms of Caddy's."""
    figures = Figures()
    for ours, theirs in ((1.0, 4.0), (3.0, 2.0), (2.0, 6.0)):
        figures.add("a row", "gateway", ours)
        figures.add("a row", "caddy", theirs)
    last = figures.table(["gateway", "caddy"]).splitlines()[-1]
    assert last == "| a row | 2.00 (1.00..3.00) | 4.00 (2.00..6.00) | 0.50 |", last
