"""A chat as a user's program has it, by the stock client."""

from __future__ import annotations

import openai


def stream_chat(url: str, key: str, model: str = "tiny") -> str:
    """Return what the model says, streamed through this URL with this key."""
    with (
        openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as client,
        client.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": "Say avocado"}],
            stream=True,
            max_tokens=8,
        ) as stream,
    ):
        deltas = (chunk.choices[0].delta for chunk in stream if chunk.choices)
        return "".join(delta.content or "" for delta in deltas)
