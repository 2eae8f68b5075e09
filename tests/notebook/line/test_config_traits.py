"""Defaults by ``%config AvocadoMagics``."""

from __future__ import annotations

from typing import Any

import pytest

import spicy_avocado_magic
from spicy_avocado_magic.config.options import OPTIONS
from spicy_avocado_magic.errors import UsageError
from spicy_avocado_magic.notebook.line.config_traits import TRAITS
from spicy_avocado_magic.notebook.magics import AvocadoMagics

from ..conftest import Service, Session

TOKEN = "2abcdefghijklmnopqrstuvwxyz_0123456789"


def held(session: Session) -> Any:
    """Return what ``%config`` sets."""
    return session.shell.magics_manager.registry["AvocadoMagics"]


def given(service: Service) -> dict[str, Any]:
    """Return what the last ``up`` gave."""
    return dict(service.requests[-1].given)


def test_a_default_is_used_unless_the_line_overrides_it(
    session: Session, service: Service
) -> None:
    """Line, cell body and ``%config``, in this order."""
    session.run("%config AvocadoMagics.model = 'llama3'")
    session.run("%config AvocadoMagics.local = True")
    session.run("%config AvocadoMagics.ttl = '2h'")
    session.run("%avocado_up")
    assert given(service) == {"models": ("llama3",), "local": True, "ttl_s": 7200.0}
    session.run("%avocado_up qwen3 --ttl 1h")
    assert given(service) == {"models": ("qwen3",), "local": True, "ttl_s": 3600.0}
    session.run("%%avocado_up\nAVOCADO_TTL=3h\n")
    assert given(service)["ttl_s"] == 10800.0


def test_a_default_takes_precedence_over_the_environment(
    session: Session, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``%config`` is closer to the user than the shell."""
    monkeypatch.setenv("AVOCADO_CONTEXT", "1024")
    session.run("%avocado_up --local")
    assert given(service)["context"] == 1024
    session.run("%config AvocadoMagics.context = 8192")
    session.run("%avocado_up --local")
    assert given(service)["context"] == 8192
    session.run("%config AvocadoMagics.context = None")
    session.run("%avocado_up --local")
    assert given(service)["context"] == 1024, "None does not remove a default"


@pytest.mark.parametrize(
    ("value", "models"),
    [
        ("'llama3 qwen3:8b'", ("llama3", "qwen3:8b")),
        ("['llama3', 'qwen3:8b']", ("llama3", "qwen3:8b")),
        ("MINE", ("gemma3",)),
    ],
)
def test_models_are_a_text_a_list_or_a_variable(
    session: Session, service: Service, value: str, models: tuple[str, ...]
) -> None:
    """All are used in notebooks."""
    session.run(f"MINE = 'gemma3'\n%config AvocadoMagics.model = {value}")
    session.run("%avocado_up --local")
    assert given(service)["models"] == models


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ("port = 99999", "--port '99999' is not a port. Use a number from 1 to 65535."),
        ("ttl = 'soon'", "--ttl: 'soon' is not a duration."),
        ("local = 'maybe'", "--local: 'maybe' is neither true nor false."),
        ("model = 'bad//name'", "'bad//name' is not a model name."),
        ("model = ''", "No model is named."),
        ("token = 'x'", "%config prints its values, so it takes no secrets"),
        ("api_key = 'x'", "--api-key $NAME"),
    ],
)
def test_a_wrong_value_is_reported_as_on_the_line_and_not_kept(
    session: Session,
    service: Service,
    caplog: pytest.LogCaptureFixture,
    setting: str,
    problem: str,
) -> None:
    """``%config`` logs the error of the option's parser."""
    session.run(f"%config AvocadoMagics.{setting}")
    assert problem in caplog.text
    name = setting.partition(" ")[0]
    assert getattr(held(session), name) is None, "the wrong value was kept"
    session.run("%config AvocadoMagics.context = 8192")
    session.run("%avocado_up --local")
    assert given(service) == {"local": True, "context": 8192}
    with pytest.raises(UsageError):
        setattr(held(session), name, "bad//value")


def test_config_lists_every_setting_with_its_help(
    session: Session, service: Service
) -> None:
    """And its current value."""
    session.run("%config AvocadoMagics.domain = 'name.ngrok.app'")
    session.run("%config AvocadoMagics")
    listed = session.printed()
    settings = {o.python_name for o in OPTIONS if o.is_setting} | {"model"}
    assert set(TRAITS) == settings, "a switch of one call has a default"
    for name in settings:
        assert f"AvocadoMagics.{name}=" in listed
    assert "your own ngrok domain" in listed
    assert "Current: 'name.ngrok.app'" in listed
    session.run("%config")
    assert "AvocadoMagics" in session.printed()


def test_a_configuration_file_sets_defaults(bare: Session, service: Service) -> None:
    """``c.AvocadoMagics.domain`` is used from the start."""
    bare.shell.config.AvocadoMagics.domain = "name.ngrok.app"
    spicy_avocado_magic.load_ipython_extension(bare.shell)
    bare.run("%avocado_up llama3")
    assert given(service)["domain"] == "name.ngrok.app"
    bare.run("%avocado_up llama3 --local")
    assert given(service) == {"models": ("llama3",), "local": True}


def test_a_wrong_configuration_file_causes_a_warning_only(
    bare: Session, service: Service
) -> None:
    """Its other defaults are used, and the magics are registered."""
    bare.shell.config.AvocadoMagics.port = 99999
    bare.shell.config.AvocadoMagics.token = TOKEN
    bare.shell.config.AvocadoMagics.context = 8192
    spicy_avocado_magic.load_ipython_extension(bare.shell)
    printed = bare.printed()
    assert "AvocadoMagics.port is ignored. --port '99999'" in printed
    assert "AvocadoMagics.token is ignored. %config prints" in printed
    assert TOKEN not in printed
    bare.run("%avocado_up --local")
    assert given(service) == {"local": True, "context": 8192}


def test_reloading_keeps_valid_defaults_and_drops_wrong_ones(
    session: Session, service: Service
) -> None:
    """There is one set of defaults, not one per load."""
    session.run("%config AvocadoMagics.model = 'llama3'")
    session.run("%config AvocadoMagics.port = 99999")
    for expected in (0, 1):
        if expected:
            spicy_avocado_magic.load_ipython_extension(session.shell)
        else:
            spicy_avocado_magic.unload_ipython_extension(session.shell)
        ours = [c for c in session.shell.configurables if isinstance(c, AvocadoMagics)]
        assert len(ours) == expected
    assert held(session).model == "llama3"
    assert held(session).port is None


def test_no_secret_is_ever_kept(session: Session, service: Service) -> None:
    """``%config`` has no secret to print."""
    session.run(f"%config AvocadoMagics.token = {TOKEN!r}")
    session.run(f"%config AvocadoMagics.api_key = {TOKEN!r}")
    session.run("%config AvocadoMagics")
    assert TOKEN not in session.printed()
    assert TOKEN not in str(held(session).config)
