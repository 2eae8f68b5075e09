"""The proof in a probe response."""

from __future__ import annotations

from spicy_avocado_magic.protocol.pool import gateway_proof


def test_the_proof_depends_on_secret_and_nonce() -> None:
    """Nobody answers for another gateway, and no answer serves twice."""
    proofs = {
        gateway_proof(secret, nonce) for secret in (b"a", b"b") for nonce in ("x", "y")
    }
    assert len(proofs) == 4
    assert gateway_proof(b"a", "x") == gateway_proof(b"a", "x")
