"""Secrets of Colab and Kaggle: returned, absent, or refused with a reason."""

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
    """Remove the signs of all platforms; restore them afterwards."""
    monkeypatch.delenv("KAGGLE_KERNEL_RUN_TYPE", raising=False)
    names = ("google", "google.colab", "google.colab.userdata")
    before = {name: sys.modules.pop(name, None) for name in names}
    yield
    for name, module in before.items():
        sys.modules.pop(name, None)
        if module is not None:
            sys.modules[name] = module


def on_colab(answer: Any) -> list[str]:
    """Simulate Colab with this reply of its page; return the requested names."""
    asked: list[str] = []

    def ask(key: str, _timeout_s: float) -> Any:
        asked.append(key)
        return answer

    colab_stand_in.install(ask)
    return asked


def on_kaggle(monkeypatch: pytest.MonkeyPatch, answer: object) -> None:
    """Simulate Kaggle with a client that returns or raises this."""

    class UserSecretsClient:
        def get_secret(self, _label: str) -> object:
            if isinstance(answer, BaseException):
                raise answer
            return answer

    kaggle: Any = ModuleType("kaggle_secrets")
    kaggle.UserSecretsClient = UserSecretsClient
    monkeypatch.setitem(sys.modules, "kaggle_secrets", kaggle)
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")


def test_other_platforms_have_no_secret_store() -> None:
    """Nothing is read and nothing raises."""
    assert not has_platform_secrets()
    assert platform_secret("NGROK_AUTHTOKEN") is None


def test_colab_returns_a_secret() -> None:
    """It exists and this notebook has access."""
    asked = on_colab({"exists": True, "access": True, "payload": "from colab"})
    assert has_platform_secrets()
    assert platform_secret("NGROK") == "from colab"
    assert asked == ["NGROK"]


def test_a_secret_that_colab_does_not_have_is_absent() -> None:
    """The next source is tried."""
    on_colab({"exists": False})
    assert platform_secret("NGROK") is None


@pytest.mark.parametrize(
    ("answer", "problem", "remedy"),
    [
        ({"exists": True, "access": False}, "no access", "Notebook access"),
        (None, "in time", "browser"),
    ],
)
def test_a_secret_without_access_or_reply_is_an_error_with_a_remedy(
    answer: Any, problem: str, remedy: str
) -> None:
    """Users often forget to switch on the access."""
    on_colab(answer)
    with pytest.raises(SecretMissing) as caught:
        platform_secret("NGROK")
    assert problem in caught.value.problem
    assert remedy in caught.value.remedy


def test_a_background_thread_does_not_read_colab_secrets() -> None:
    """It would consume replies of the page to other requests."""
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
    assert asked == [], "a thread sent a request to the page"
    assert "foreground" in str(caught[0])
    assert "userdata.get('NGROK')" in str(caught[0])


def test_kaggle_is_tried_before_colab(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kaggle's image is built on Colab's, which is tried second."""
    asked = on_colab({"exists": True, "access": True, "payload": "from colab"})
    on_kaggle(monkeypatch, "from kaggle")
    assert platform_secret("NGROK") == "from kaggle"
    assert asked == []
    on_kaggle(monkeypatch, Exception("BackendError: no such secret"))
    assert platform_secret("NGROK") == "from colab"


def test_kaggle_without_internet_is_an_error_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Everything else would fail as well."""
    error = ConnectionError("Connection error trying to communicate with service.")
    on_kaggle(monkeypatch, error)
    with pytest.raises(SecretMissing, match="Switch on Internet"):
        platform_secret("NGROK")
