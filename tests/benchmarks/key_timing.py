"""Timing of refused keys: it must not depend on how much of a key is right.

``python -m tests.benchmarks.key_timing [ROUNDS]`` asks a keyring of 100 keys, guess
by guess in turn, and prints the median of each kind of guess. The last column is the
difference from a guess of which nothing is right, and beside it the spread (the
median absolute deviation): a difference that is not well beyond it says nothing.
That no guess takes another path is what ``tests/gateway/test_authentication.py`` holds.
"""

from __future__ import annotations

import contextlib
import gc
import secrets
import statistics
import sys
import time
from typing import Final

from spicy_avocado_magic.config.api_keys import MAX_NAMED_KEYS, ApiKey
from spicy_avocado_magic.gateway.authentication import KeyStore
from spicy_avocado_magic.gateway.error_responses import ErrorResponse
from spicy_avocado_magic.system.redaction import Secret

LENGTH: Final = 48


def _guesses(key: str) -> dict[str, tuple[str, ...]]:
    wrong = "~" * LENGTH
    parts = {
        f"{count} characters right": (key[:count] + wrong[count:],)
        for count in (0, 1, 8, 24, 40, 47)
    }
    return parts | {
        "none": (),
        "the right length, another one": (secrets.token_urlsafe(36),),
        "one character": ("~",),
        "the right one": (key,),
    }


def _elapsed_ns(keyring: KeyStore, keys: tuple[str, ...]) -> int:
    started = time.perf_counter_ns()
    with contextlib.suppress(ErrorResponse):
        keyring.authenticate(keys)
    return time.perf_counter_ns() - started


def main(rounds: int) -> None:
    """Measure, and print a table."""
    owner = secrets.token_urlsafe(36)
    named = [
        ApiKey(name=f"key{number}", secret=secrets.token_urlsafe(36))
        for number in range(MAX_NAMED_KEYS - 1)
    ]
    keyring = KeyStore(Secret(owner), named, manage=False)
    guesses = _guesses(owner)
    times: dict[str, list[int]] = {name: [] for name in guesses}
    gc.disable()
    for _ in range(rounds):
        for name, keys in guesses.items():
            times[name].append(_elapsed_ns(keyring, keys))
    usual = statistics.median(times["0 characters right"])
    for name, taken in times.items():
        median = statistics.median(taken)
        spread = statistics.median(abs(item - median) for item in taken)
        sys.stdout.write(
            f"{name:32} {median:9.0f} ns ± {spread:6.0f}   {median - usual:+8.0f}\n"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5000)
