"""Whether a stream of events came to the end that its API gives it.

When what runs the model dies in the middle, Ollama ends ``/v1`` streams in good order,
without a word: its own error has no form there (seen of 0.34.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_OPENAI: Final = (b"data: [DONE]", b'data: {"error"')
_ENDS: Final[Mapping[str, tuple[bytes, ...]]] = {
    "/v1/chat/completions": _OPENAI,
    "/v1/completions": _OPENAI,
    "/v1/messages": (b"event: message_stop", b"event: error"),
    "/v1/responses": (
        b'"type":"response.completed"',
        b'"type":"response.incomplete"',
        b'"type":"response.failed"',
        b"event: error",
    ),
}
"""By route, what stands in the last bytes of a whole stream, or of one that told why
it is none. Inside a text the quotes and line ends of these would be escaped."""


def has_end(route: str, ending: bytes) -> bool:
    """Return whether the last bytes of a stream of events are its end.

    Args:
        route: The route's label; streams of those that are not known always end.
        ending: Its last bytes, 500 or more if there are so many.
    """
    ends = _ENDS.get(route, ())
    return not ends or any(end in ending for end in ends)
