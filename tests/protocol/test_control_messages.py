"""The messages of the control API as JSON."""

from __future__ import annotations

import dataclasses
import json

import pytest

from spicy_avocado_magic.protocol import control_messages as messages
from spicy_avocado_magic.protocol.json_codec import from_json, to_json
from spicy_avocado_magic.protocol.state import ApiKeyState, Event, Phase, State

EVENT = Event(
    sequence=3, at_s=1.5, component="engine", stage="serve", phase=Phase.READY, text=""
)
MESSAGES = (
    messages.UpMessage(given={"models": ["tiny"]}, only=True),
    messages.UpReply(change=4, changed=("models",)),
    messages.WithdrawMessage(change=4),
    messages.WithdrawReply(done=False),
    messages.DownMessage(keep_wanted=True),
    messages.KeysReply(keys=(ApiKeyState(name="owner"),)),
    messages.AddKeyMessage(grant={"name": "ann"}),
    messages.AddKeyReply(secret="made-for-ann"),
    messages.RevokeKeyMessage(name="ann"),
    messages.CreateMessage(name="mine", modelfile="FROM tiny", folder="/"),
    messages.CreateEvent(pulled=("tiny",)),
    messages.StateMessage(state=State(pid=7), events=(EVENT,)),
    messages.Acknowledged(),
)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
def test_a_message_arrives_as_it_was_sent(message: object) -> None:
    """Kernel and daemon read the same value."""
    received = from_json(type(message), json.loads(json.dumps(to_json(message))))
    assert received == message


def test_every_message_is_tried() -> None:
    """A new message is in the table above."""
    defined = {
        value
        for value in vars(messages).values()
        if dataclasses.is_dataclass(value) and value.__module__ == messages.__name__
    }
    assert defined == {type(message) for message in MESSAGES}
