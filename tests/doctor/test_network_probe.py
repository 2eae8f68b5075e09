"""Network failures and what is reported of them, each provoked on loopback."""

from __future__ import annotations

import socket
import ssl

import pytest
import trustme

from spicy_avocado_magic.doctor.network import ProbeResult, probe_port, probe_url
from tests.machine_speed import scaled

from .small_host import SmallHost

BOUND_S = scaled(5.0)


def problem(found: ProbeResult, *words: str) -> None:
    """Assert that the problem contains these words and has a remedy."""
    for word in words:
        assert word in found.problem, f"{word!r} is missing: {found}"
    assert found.remedy, f"a problem without a remedy: {found}"


@pytest.mark.parametrize("status", [200, 204, 401, 404])
def test_a_host_that_answers_with_success_or_a_client_error_is_reachable(
    status: int,
) -> None:
    """Whether a file exists does not matter."""
    with SmallHost(status).running() as address:
        found = probe_url(f"http://{address}/x", BOUND_S)
    assert found == ProbeResult("127.0.0.1", date=found.date), found


@pytest.mark.parametrize(
    ("status", "word"), [(403, "forbidden"), (451, "forbidden"), (503, "of its own")]
)
def test_a_forbidden_host_and_a_server_error_are_reported(
    status: int, word: str
) -> None:
    """The message has the status, which an administrator asks for."""
    with SmallHost(status).running() as address:
        problem(probe_url(f"http://{address}/x", BOUND_S), word, str(status))


def test_a_closed_port_is_reported_as_refused() -> None:
    """By HTTP and by a bare connection."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        problem(probe_url(f"http://{address}/", BOUND_S), "refuses the connection")
        problem(probe_port(address, BOUND_S), "refuses the connection")


def test_a_name_that_does_not_resolve_is_reported() -> None:
    """The top-level domain ``invalid`` has no names by RFC 6761."""
    problem(probe_url("https://host.invalid/", BOUND_S), "host.invalid", "not resolve")
    problem(probe_port("host.invalid:443", BOUND_S), "host.invalid", "not resolve")


def test_a_silent_host_is_reported() -> None:
    """It accepted the request and sends nothing."""
    with SmallHost(silent=True).running() as address:
        problem(probe_url(f"http://{address}/", 0.5), "does not answer in time")


def test_an_untrusted_certificate_is_reported(tmp_path: object) -> None:
    """It may be of a proxy that intercepts TLS, or the clock is wrong."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with SmallHost().running(context) as address:
        found = probe_url(f"https://{address}/", BOUND_S)
    problem(found, "certificate")
    assert "REQUESTS_CA_BUNDLE" in found.remedy, found


def test_a_proxy_that_requires_a_password_is_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With TLS, where the proxy refuses the tunnel, and without."""
    with SmallHost(407).running() as address:
        monkeypatch.setenv("HTTPS_PROXY", f"http://ann:opensesame@{address}")
        monkeypatch.setenv("HTTP_PROXY", f"http://ann:opensesame@{address}")
        for scheme in ("https", "http"):
            found = probe_url(f"{scheme}://host.example/", BOUND_S)
            problem(found, "proxy", "407")
            assert "opensesame" not in str(found), "the proxy's password is shown"


def test_a_proxy_that_forbids_a_host_or_is_unreachable_is_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its address is shown without the password."""
    with SmallHost(403).running() as address:
        monkeypatch.setenv("HTTPS_PROXY", f"http://ann:opensesame@{address}")
        found = probe_url("https://host.example/", BOUND_S)
        problem(found, f"proxy http://{address} forbids", "403")
    found = probe_url("https://host.example/", BOUND_S)
    problem(found, f"proxy http://{address} cannot be used")
    assert "opensesame" not in str(found), "the proxy's password is shown"


def test_loopback_is_asked_without_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rehearsal's world is not behind a proxy."""
    proxy = SmallHost(407)
    with proxy.running() as address, SmallHost().running() as host:
        monkeypatch.setenv("HTTP_PROXY", f"http://{address}")
        assert not probe_url(f"http://{host}/", BOUND_S).problem
    assert not proxy.asked, "the proxy was asked for loopback"


def test_a_failure_after_a_redirect_names_the_host_that_failed() -> None:
    """Archives are on another host than the page of the release."""
    headers = {"Location": "http://archives.invalid/x"}
    with SmallHost(302, headers).running() as address:
        problem(probe_url(f"http://{address}/x", BOUND_S), "archives.invalid")
        found = probe_url(f"http://{address}/x", BOUND_S, follow=False)
        assert found.host == "127.0.0.1", found
        assert not found.problem, found


def test_an_open_port_is_reachable() -> None:
    """Nothing is sent to it."""
    host = SmallHost()
    with host.running() as address:
        assert probe_port(address, BOUND_S) == ProbeResult("127.0.0.1")
    assert not host.asked
