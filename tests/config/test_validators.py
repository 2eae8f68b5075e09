"""Validators of option values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from spicy_avocado_magic.config.validators import (
    parse_duration_s,
    parse_origins,
    parse_registries,
    validate_address,
    validate_context,
    validate_domain,
    validate_keep_alive,
    validate_key,
    validate_model,
    validate_port,
    validate_version,
)
from spicy_avocado_magic.errors import UsageError


@pytest.mark.parametrize(
    ("validate", "text", "value"),
    [
        (validate_model, "qwen3:8b", "qwen3:8b"),
        (validate_domain, " https://My-Name.ngrok.app/ ", "my-name.ngrok.app"),
        (validate_port, "65535", 65535),
        (validate_context, "8192", 8192),
        (validate_key, "abc_DEF.1~2-3", "abc_DEF.1~2-3"),
        (validate_version, "v0.34.1", "0.34.1"),
        (validate_version, "0.35.0-rc1", "0.35.0-rc1"),
        (validate_version, "latest", "latest"),
        (validate_keep_alive, "1h30m", "1h30m"),
        (validate_keep_alive, "-1", "-1"),
        (parse_duration_s, "90", 90.0),
        (parse_duration_s, "1h30m", 5400.0),
        (parse_duration_s, "1.5h", 5400.0),
        (parse_duration_s, "500ms", 0.5),
    ],
)
def test_a_valid_value_is_parsed(
    validate: Callable[[str], Any], text: str, value: Any
) -> None:
    """In every common spelling."""
    assert validate(text) == value


@pytest.mark.parametrize(
    ("validate", "text"),
    [
        (validate_model, "a b"),
        (validate_domain, "localhost"),
        (validate_domain, "http://a.example"),
        (validate_domain, "a.example/path"),
        (validate_domain, "a.example:80"),
        (validate_domain, "-a.example"),
        (validate_port, "0"),
        (validate_port, "65536"),
        (validate_port, "-1"),
        (validate_port, "8O"),
        (validate_port, "²"),
        (validate_context, "0"),
        (validate_context, "8k"),
        (validate_key, "short"),
        (validate_key, "with space"),
        (validate_key, "with/slash"),
        (validate_key, "line-end-\n"),
        (validate_key, "x" * 201),
        (validate_version, "0.34"),
        (validate_version, "../0.34.1"),
        (validate_version, "٣.٣.٣"),
        (validate_keep_alive, "soon"),
        (validate_keep_alive, "٣m"),
        (validate_keep_alive, "5x"),
        (parse_duration_s, ""),
        (parse_duration_s, "2 h"),
        (parse_duration_s, "-2h"),
        (parse_duration_s, "h"),
    ],
)
def test_a_wrong_value_is_refused_with_an_example(
    validate: Callable[[str], Any], text: str
) -> None:
    """The error has one short message."""
    with pytest.raises(UsageError) as caught:
        validate(text)
    assert caught.value.remedy.startswith("Use ")


def test_a_refused_key_is_not_repeated() -> None:
    """An error message must not contain a secret."""
    with pytest.raises(UsageError) as caught:
        validate_key("my secret key")
    assert "my secret" not in str(caught.value)


def test_lists_have_commas_and_none_empties_them() -> None:
    """Duplicates are removed."""
    assert parse_origins("https://A.example, *,*") == ("https://a.example", "*")
    assert parse_registries("reg.example:5000") == ("reg.example:5000",)
    assert parse_origins("none") == parse_registries("none") == ()


@pytest.mark.parametrize("text", ["a.example", "https://a.example/", "https://", "a b"])
def test_an_origin_is_scheme_and_host(text: str) -> None:
    """Anything else never equals the Origin header of a browser."""
    with pytest.raises(UsageError):
        parse_origins(text)


@pytest.mark.parametrize("text", ["https://a", "a/b", "-a", "a:b"])
def test_a_registry_is_a_host(text: str) -> None:
    """The name of a model does not begin with a URL."""
    with pytest.raises(UsageError):
        parse_registries(text)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("9464", "127.0.0.1:9464"),
        ("0.0.0.0:9464", "0.0.0.0:9464"),
        ("[::1]:9464", "[::1]:9464"),
        ("none", ""),
    ],
)
def test_a_port_alone_is_on_loopback(text: str, address: str) -> None:
    """Other addresses must be written."""
    assert validate_address(text) == address


@pytest.mark.parametrize("text", ["", "x", "host:1", "1.2.3.4", "127.0.0.1:0"])
def test_an_address_has_a_port_and_an_ip_address(text: str) -> None:
    """Host names are not looked up."""
    with pytest.raises(UsageError):
        validate_address(text)


def test_a_token_is_not_a_model_name() -> None:
    """It is refused without being shown, stored or sent to a registry."""
    token = "2abcdefghijklmnopqrstuvwxyzA_0123456789abcdefghijk"
    with pytest.raises(UsageError) as caught:
        validate_model(token)
    assert token not in str(caught.value)
    assert "--token $NAME" in caught.value.remedy
    assert validate_model("a_long_name_of_a_model_with_numbers_0123456789")
