"""How a gateway proves, through the public URL, that it is the one behind it."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

PROBE_HEADER: Final = "X-Avocado-Probe"
"""Request header: a fresh nonce that nobody else has seen."""
PROOF_HEADER: Final = "X-Avocado-Proof"
"""Response header: what only the holder of the probe secret can answer."""


def proof(secret: bytes, nonce: str) -> str:
    """Return the answer to a nonce: HMAC-SHA256 under the secret, in hex."""
    return hmac.new(secret, nonce.encode(), hashlib.sha256).hexdigest()
