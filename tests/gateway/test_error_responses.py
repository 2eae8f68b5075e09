"""Error responses of the gateway itself, in each API's shape."""

from __future__ import annotations

import json

import pytest

from spicy_avocado_magic.gateway.error_responses import engine_loading
from spicy_avocado_magic.protocol.error_shapes import ApiDialect


@pytest.mark.parametrize("dialect", list(ApiDialect))
def test_a_loading_model_is_503_and_not_401(
    dialect: ApiDialect,
) -> None:
    """While there is no engine: 503, when to come back, and that it is loading."""
    response = engine_loading().response(dialect)
    assert response.status == 503
    assert int(response.headers["Retry-After"]) > 0, "no time to come back"
    assert isinstance(response.body, bytes)
    assert "still loading" in json.dumps(json.loads(response.body))
    assert response.headers["Server"] == "avocado", "the library's name leaks"
