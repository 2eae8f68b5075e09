"""Secrets of Colab and Kaggle: handed out, absent, or withheld with a reason."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from spicy_avocado_magic.errors import SecretMissing
from spicy_avocado_magic.system.platform_secrets import (
    has_platform_secrets,
    platform_secret,
)

from .. import colab_stand_in


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Be on no platform at first, and at the end again."""
    monkeypatch.delenv("KAGGLE_KERNEL_RUN_TYPE", raising=False)
    names = ("google", "google.colab", "google.colab.userdata")
    before = {name: sys.modules.pop(name, None) for name in names}
    yield
    for name, module in before.items():
        sys.modules.pop(name, None)
        if module is not None:
            sys.modules[name] = module


def on_colab(answer: Any) -> list[str]:
    """Be on Colab, whose page says this; return what it was asked for."""
    asked: list[str] = []

    def ask(key: str, _patience_s: float) -> Any:
        asked.append(key)
        return answer

    colab_stand_in.install(ask)
    return asked


def on_kaggle(monkeypatch: pytest.MonkeyPatch, answer: object) -> None:
    """Be on Kaggle, whose client returns or raises this."""

    class UserSecretsClient:
        def get_secret(self, _label: str) -> object:
            if isinstance(answer, BaseException):
                raise answer
            return answer

    kaggle: Any = ModuleType("kaggle_secrets")
    kaggle.UserSecretsClient = UserSecretsClient
    monkeypatch.setitem(sys.modules, "kaggle_secrets", kaggle)
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")


def test_elsewhere_there_is_no_store() -> None:
    """Nothing is asked, nothing is missing."""
    assert not has_platform_secrets()
    assert platform_secret("NGROK_AUTHTOKEN") is None


def test_colab_hands_out_a_secret() -> None:
    """Once it exists and this notebook has access."""
    asked = on_colab({"exists": True, "access": True, "payload": "from colab"})
    assert has_platform_secrets()
    assert platform_secret("NGROK") == "from colab"
    assert asked == ["NGROK"]


def test_a_secret_that_colab_does_not_have_is_absent() -> None:
    """The next place is looked at."""
    on_colab({"exists": False})
    assert platform_secret("NGROK") is None


@pytest.mark.parametrize(
    ("answer", "problem", "remedy"),
    [
        ({"exists": True, "access": False}, "no access", "Notebook access"),
        (None, "in time", "browser"),
    ],
)
def test_a_secret_that_colab_withholds_is_told(
    answer: Any, problem: str, remedy: str
) -> None:
    """The switch beside it is what people forget."""
    on_colab(answer)
    with pytest.raises(SecretMissing) as caught:
        platform_secret("NGROK")
    assert problem in caught.value.problem
    assert remedy in caught.value.remedy


def test_a_thread_does_not_ask_colab() -> None:
    """It would wait for the page while a cell owns the page's answers."""
    asked = on_colab({"exists": True, "access": True, "payload": "x"})
    caught: list[BaseException] = []

    def look() -> None:
        try:
            platform_secret("NGROK")
        except SecretMissing as error:
            caught.append(error)

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert asked == [], "the page was asked from a thread"
    assert "foreground" in str(caught[0])
    assert "userdata.get('NGROK')" in str(caught[0])


def test_kaggle_goes_before_colab(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its image is built on Colab's; what it has not may be there."""
    asked = on_colab({"exists": True, "access": True, "payload": "from colab"})
    on_kaggle(monkeypatch, "from kaggle")
    assert platform_secret("NGROK") == "from kaggle"
    assert asked == []
    on_kaggle(monkeypatch, Exception("BackendError: no such secret"))
    assert platform_secret("NGROK") == "from colab"


def test_kaggle_without_internet_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own words are a good signal, and everything else will fail as well."""
    error = ConnectionError("Connection error trying to communicate with service.")
    on_kaggle(monkeypatch, error)
    with pytest.raises(SecretMissing, match="Switch on Internet"):
        platform_secret("NGROK")
