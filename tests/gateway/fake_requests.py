"""Request contexts without a connection."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

from spicy_avocado_magic.gateway.authentication import Caller
from spicy_avocado_magic.gateway.request_context import RequestContext


@dataclass(slots=True)
class Writer:
    """Counts of a response that is being written."""

    output_size: int = 0


def make_context(
    caller: Caller | None = None,
    *,
    method: str = "POST",
    writer: Writer | None = None,
    **fields: Any,
) -> RequestContext:
    """Return the context of a request that no client has sent."""
    request = SimpleNamespace(method=method, writer=writer or Writer())
    return RequestContext(request=cast("Any", request), caller=caller, **fields)
