"""Check of the tunnel's token: present, and of the right shape. It is never shown."""

from __future__ import annotations

from typing import Final

from ..config.credentials import check_token
from ..config.tunnel import TUNNEL
from ..errors import InvalidToken
from ..protocol.finding import Finding, broken, ok, warning
from .context import DoctorContext

_CREDENTIAL: Final = TUNNEL.credential
_COPY: Final = f"Copy the {_CREDENTIAL.name} from {_CREDENTIAL.page}."


def check_token_shape(context: DoctorContext) -> Finding:
    """Check that a token is there and has the shape of one.

    An API key has the very shape of a token (errors 206 and 207 of ngrok), so it is
    recognised by the variable that holds it.
    """
    token = context.token
    if context.rehearsal:
        return ok("Not needed for a rehearsal.")
    if not token.text.strip():
        if not _CREDENTIAL.is_required:
            return ok(f"Not needed: {TUNNEL.name} works without one.")
        return broken(
            f"No {TUNNEL.name} token was found.",
            f"Set {_CREDENTIAL.variable} here{context.platform.or_add_it}, or pass "
            "--token $NAME; --local needs none.",
        )
    subject = f"The token from {token.origin}"
    problem = _other_text(token.text.strip())
    if token.is_api_key:
        variable = _CREDENTIAL.other_variable
        problem = f"is the same as {variable}: an API key cannot open a tunnel"
    if problem:
        return broken(f"{subject} {problem}.", _COPY)
    try:
        text = check_token(token.text)
    except InvalidToken:
        return broken(
            f"{subject} is malformed ({_CREDENTIAL.malformed_code}).",
            f"{_COPY} An API key is something else.",
        )
    if not _CREDENTIAL.usual_shape.fullmatch(text):
        return warning(
            f"{subject} does not have the usual shape: two parts joined by _.",
            f"{_COPY} {_CREDENTIAL.outdated_hint}",
        )
    return ok(f"{subject} has the right shape; only {TUNNEL.name} knows if it works.")


def _other_text(text: str) -> str:
    """Return what was pasted in place of a token; empty if nothing known."""
    for prefix, name in _CREDENTIAL.other_prefixes.items():
        if text.startswith(prefix):
            return f"is {name}, not the token"
    if text.startswith("$"):
        return "is the name of a variable that has no value"
    if "authtoken" in text.lower() or " " in text:
        return "is a whole command or sentence, not the token alone"
    if text[0] in "\"'" or text[-1] in "\"'":
        return "has quotes around it"
    return ""
