"""Checks of system, packages, memory, other users and proxies."""

from __future__ import annotations

import os
import re
import subprocess
from importlib import metadata

import pytest

from spicy_avocado_magic.config.settings import Settings
from spicy_avocado_magic.doctor import machine
from spicy_avocado_magic.doctor.machine import (
    check_memory,
    check_packages,
    check_platform,
    check_proxy,
    check_sharing,
    without_credentials,
)
from spicy_avocado_magic.engine.hardware import memory as hardware_memory
from spicy_avocado_magic.engine.hardware.memory_fit import AvailableMemory
from spicy_avocado_magic.protocol.finding import CheckStatus
from tests.machine_speed import scaled

from .conftest import New

GB = 10**9


def test_the_platform_is_reported_with_its_terms(
    new_context: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only terms that forbid something are a warning."""
    assert check_platform(new_context()).verdict is CheckStatus.OK
    monkeypatch.setenv("COLAB_RELEASE_TAG", "1")
    found = check_platform(new_context())
    assert found.verdict is CheckStatus.WARNING, found
    assert "Google Colab" in found.what
    assert "terms" in found.what
    assert "12 hours" in found.what, "the length of a session is missing"
    monkeypatch.delenv("COLAB_RELEASE_TAG")
    monkeypatch.setenv("CODESPACES", "true")
    found = check_platform(new_context())
    assert found.verdict is CheckStatus.OK, "limits alone are no warning"
    assert "30 idle minutes" in found.what, "the length of a session is missing"


def test_the_packages_are_those_of_the_project() -> None:
    """The list equals the requirements in ``pyproject.toml``."""
    try:
        required = metadata.requires("spicy-avocado-magic") or []
    except metadata.PackageNotFoundError:
        pytest.skip("this package is not installed, so its requirements are unknown")
    ours = [line for line in required if "extra" not in line]
    names = {re.split(r"[<>=!~; ]", line)[0] for line in ours}
    assert names == {name.lower() for name in machine.PACKAGES}


def test_a_missing_package_and_an_old_ipython_are_reported(
    new_context: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The remedy is the line that installs them."""
    assert check_packages(new_context()).verdict is CheckStatus.OK
    monkeypatch.setattr(machine, "PACKAGES", ("IPython", "guacamole"))
    found = check_packages(new_context())
    assert found.verdict is CheckStatus.BROKEN, found
    assert "guacamole" in found.what
    assert "%pip" in found.remedy
    old = {"IPython": "7.33.1"}
    monkeypatch.setattr(machine, "installed_versions", lambda: old)
    found = check_packages(new_context())
    assert found.verdict is CheckStatus.BROKEN, found
    assert "7.33.1" in found.what


@pytest.mark.parametrize(
    ("ram", "vram", "verdict"),
    [
        (GB // 5, 0, CheckStatus.BROKEN),
        (GB, 0, CheckStatus.WARNING),
        (GB, 15 * GB, CheckStatus.OK),
        (8 * GB, 0, CheckStatus.OK),
    ],
)
def test_memory_too_small_for_any_model_is_reported(
    new_context: New,
    monkeypatch: pytest.MonkeyPatch,
    ram: int,
    vram: int,
    verdict: CheckStatus,
) -> None:
    """RAM and VRAM are added."""
    found = AvailableMemory(
        vram_total=vram, vram_free=vram, gpus=1 if vram else 0, ram_free=ram
    )
    monkeypatch.setattr(hardware_memory, "read_memory", lambda _gpus: found)
    assert check_memory(new_context()).verdict is verdict


def test_memory_used_by_the_running_service_is_no_problem(
    new_context: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its models use what is missing."""
    found = AvailableMemory(vram_total=0, vram_free=0, gpus=0, ram_free=GB)
    monkeypatch.setattr(hardware_memory, "read_memory", lambda _gpus: found)
    assert check_memory(new_context(is_running=True)).verdict is CheckStatus.OK


def test_other_users_of_the_machine_are_reported(new_context: New) -> None:
    """They are recognised by a process, which only root can start here."""
    if os.getuid() != 0:
        pytest.skip("only root can start a process of another user")
    with subprocess.Popen(
        ["/bin/cat"], stdin=subprocess.PIPE, user=2026, group=2026
    ) as other:
        found = check_sharing(new_context())
        assert other.stdin is not None
        other.stdin.close()
        other.wait(scaled(10))
    assert found.verdict is CheckStatus.WARNING, found
    assert "loopback" in found.what
    assert found.remedy


def test_proxies_are_reported_without_their_passwords(
    new_context: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Upper and lower case count; with a tunnel the remedy names ngrok's error."""
    assert check_proxy(new_context()).verdict is CheckStatus.OK
    monkeypatch.setenv("https_proxy", "http://ann:opensesame@proxy.example:3128")
    found = check_proxy(new_context())
    assert found.verdict is CheckStatus.WARNING, found
    assert "https_proxy=http://proxy.example:3128" in found.what
    assert "9009" in found.remedy
    assert "opensesame" not in str(found), "the proxy's password is shown"
    assert machine.proxy_passwords() == ["opensesame"]
    local = check_proxy(new_context(settings=Settings(local=True)))
    assert local.verdict is CheckStatus.OK, local


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("ann:pw@proxy:3128", "http://proxy:3128"),
        ("socks5://proxy", "socks5://proxy"),
        ("http://a:b@[::1]:x", "(unreadable)"),
    ],
)
def test_a_proxy_in_any_form_loses_its_credentials(url: str, shown: str) -> None:
    """That includes one without a scheme, and one that cannot be parsed."""
    assert without_credentials(url) == shown
