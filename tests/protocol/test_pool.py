"""Signed member info of a pool, and the list of members."""

from __future__ import annotations

import pytest

from spicy_avocado_magic.protocol.pool import (
    MemberInfo,
    Pool,
    derive_secret,
    sign_member_info,
    verify_member_info,
)

SECRET = b"derived from the key"
INFO = MemberInfo(member="0a1b", models=("tiny", "user/fine:q4"))


def test_key_and_domain_make_the_secret() -> None:
    """The same for all members, another for each pool, and not the key itself."""
    key = "one-key-for-all-of-us"
    secret = derive_secret(key, "a.ngrok.app")
    assert secret == derive_secret(key, "a.ngrok.app")
    assert len(secret) == 32
    assert secret != derive_secret(key, "b.ngrok.app"), "the domain does not count"
    assert secret != derive_secret(key + "x", "a.ngrok.app"), "the key does not count"


def test_member_info_arrives_as_it_was_signed() -> None:
    """As a header's value: plain ASCII without spaces."""
    header = sign_member_info(SECRET, "ask", "nonce", INFO)
    assert header.isascii()
    assert header.split() == [header]
    assert verify_member_info(SECRET, "ask", "nonce", header) == INFO


@pytest.mark.parametrize(
    "forged",
    [
        "",
        ".",
        "é.é",
        "no-dot",
        sign_member_info(b"of another key", "ask", "nonce", INFO),
        sign_member_info(SECRET, "ask", "an older nonce", INFO),
        sign_member_info(SECRET, "answer", "nonce", INFO),
        sign_member_info(SECRET, "ask", "nonce", INFO)[:-1],
        "x" + sign_member_info(SECRET, "ask", "nonce", INFO),
        sign_member_info(SECRET, "ask", "nonce", INFO).partition(".")[0] + ".",
    ],
)
def test_an_invalid_signature_is_refused(forged: str) -> None:
    """Another key, nonce or direction, a part of one, or none at all."""
    assert verify_member_info(SECRET, "ask", "nonce", forged) is None


def test_two_members_meet_by_one_probe() -> None:
    """Both sides record the other member and its models."""
    now = [100.0]
    left, right = (Pool(SECRET, clock=lambda: now[0]) for _ in range(2))
    assert left.member != right.member
    answered = right.answer("n", left.ask("n", ["a"]), ["b"])
    assert answered is not None
    assert left.verify_answer("n", answered) == MemberInfo(
        member=right.member, models=("b",)
    )
    now[0] += 7
    own, other = left.members(["a"], within_s=60)
    assert (own.id, own.models, own.seen_s) == (left.member, ("a",), None)
    assert own.is_self
    assert (other.id, other.models, other.seen_s) == (right.member, ("b",), 7)
    assert not other.is_self
    assert [member.id for member in right.members(["b"], within_s=60)] == [
        right.member,
        left.member,
    ]


def test_a_probe_without_the_secret_is_neither_answered_nor_recorded() -> None:
    """Without the secret nobody receives a proof."""
    member, outsider = Pool(SECRET), Pool(b"of another key")
    assert member.answer("n", outsider.ask("n", []), ["tiny"]) is None
    assert member.verify_answer("n", outsider.ask("n", [])) is None
    assert len(member.members([], within_s=60)) == 1


def test_members_are_listed_by_when_they_were_last_seen() -> None:
    """This member is first; members not seen recently are left out."""
    now = [100.0]
    ours, second, third = (Pool(SECRET, clock=lambda: now[0]) for _ in range(3))
    ours.answer("n", second.ask("n", []), [])
    now[0] = 130.0
    ours.answer("n", third.ask("n", []), [])
    now[0] = 140.0
    listed = [(member.id, member.seen_s) for member in ours.members([], within_s=60)]
    assert listed == [(ours.member, None), (third.member, 10), (second.member, 40)]
    assert len(ours.members([], within_s=39)) == 2, "the silent one is still there"
    ours.answer("n", second.ask("n", ["late"]), [])
    assert ours.members([], within_s=39)[1].models == ("late",)


def test_we_were_seen_when_our_own_probe_or_a_request_came_back_to_us() -> None:
    """Whichever was later."""
    now = [100.0]
    pool = Pool(SECRET, clock=lambda: now[0])
    answered = pool.answer("n", pool.ask("n", []), [])
    assert answered is not None
    assert pool.verify_answer("n", answered) is not None
    now[0] = 150.0
    (own,) = pool.members([], within_s=10)
    assert own.seen_s == 50, "our own probe does not count"
    assert pool.members([], within_s=10, reached=120.0)[0].seen_s == 30
    assert pool.members([], within_s=10, reached=90.0)[0].seen_s == 50
