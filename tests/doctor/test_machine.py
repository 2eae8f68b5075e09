"""System, packages, memory, other people and proxies."""

from __future__ import annotations

import os
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


def test_the_platform_is_told_with_what_its_terms_say(
    new_case: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most have none that matter."""
    assert check_platform(new_case()).verdict is CheckStatus.OK
    monkeypatch.setenv("COLAB_RELEASE_TAG", "1")
    found = check_platform(new_case())
    assert found.verdict is CheckStatus.WARNING, found
    assert "Google Colab" in found.what
    assert "terms" in found.what
    assert "12 hours" in found.what, "how long a session lasts is not told"
    monkeypatch.delenv("COLAB_RELEASE_TAG")
    monkeypatch.setenv("CODESPACES", "true")
    found = check_platform(new_case())
    assert found.verdict is CheckStatus.OK, "limits alone are no reason to worry"
    assert "30 minutes" in found.what, "how long a session lasts is not told"


def test_the_packages_are_those_of_the_project() -> None:
    """The list follows ``pyproject.toml``; where it is not installed, that is told."""
    try:
        required = metadata.requires("spicy-avocado-magic") or []
    except metadata.PackageNotFoundError:
        pytest.skip("this package is not installed, so nothing tells what it requires")
    ours = [line for line in required if "extra" not in line]
    names = {line.split(">")[0].strip() for line in ours}
    assert names == {name.lower() for name in machine.PACKAGES}


def test_a_missing_package_and_an_old_ipython_are_told(
    new_case: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the line that installs them."""
    assert check_packages(new_case()).verdict is CheckStatus.OK
    monkeypatch.setattr(machine, "PACKAGES", ("IPython", "guacamole"))
    found = check_packages(new_case())
    assert found.verdict is CheckStatus.BROKEN, found
    assert "guacamole" in found.what
    assert "%pip" in found.remedy
    old = {"IPython": "7.33.1"}
    monkeypatch.setattr(machine, "installed_versions", lambda: old)
    found = check_packages(new_case())
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
def test_memory_too_small_for_any_model_is_told(
    new_case: New,
    monkeypatch: pytest.MonkeyPatch,
    ram: int,
    vram: int,
    verdict: CheckStatus,
) -> None:
    """RAM and VRAM count together."""
    found = AvailableMemory(
        vram_total=vram, vram_free=vram, gpus=1 if vram else 0, ram_free=ram
    )
    monkeypatch.setattr(hardware_memory, "read_memory", lambda _gpus: found)
    assert check_memory(new_case()).verdict is verdict


def test_a_running_service_holds_its_memory_rightly(
    new_case: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its models are what is missing."""
    found = AvailableMemory(vram_total=0, vram_free=0, gpus=0, ram_free=GB)
    monkeypatch.setattr(hardware_memory, "read_memory", lambda _gpus: found)
    assert check_memory(new_case(is_running=True)).verdict is CheckStatus.OK


def test_other_people_on_the_machine_are_told(new_case: New) -> None:
    """By a process of theirs, which only root can start here."""
    if os.getuid() != 0:
        pytest.skip("only root can start a process of somebody else")
    with subprocess.Popen(
        ["/bin/cat"], stdin=subprocess.PIPE, user=2026, group=2026
    ) as other:
        found = check_sharing(new_case())
        assert other.stdin is not None
        other.stdin.close()
        other.wait(scaled(10))
    assert found.verdict is CheckStatus.WARNING, found
    assert "loopback" in found.what
    assert found.remedy


def test_proxies_are_told_without_their_passwords(
    new_case: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In both spellings; where there is a tunnel, ngrok's answer to them as well."""
    assert check_proxy(new_case()).verdict is CheckStatus.OK
    monkeypatch.setenv("https_proxy", "http://ann:opensesame@proxy.example:3128")
    found = check_proxy(new_case())
    assert found.verdict is CheckStatus.WARNING, found
    assert "https_proxy=http://proxy.example:3128" in found.what
    assert "9009" in found.remedy
    assert "opensesame" not in str(found), "the proxy's password is told"
    assert machine.proxy_passwords() == ["opensesame"]
    local = check_proxy(new_case(settings=Settings(local=True)))
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
    """Also one without a scheme, or that nobody can read."""
    assert without_credentials(url) == shown
