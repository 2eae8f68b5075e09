"""Code for common clients, filled in with URL, key and model."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ..config.validators import OLLAMA_VERSION
from ..protocol.state import State
from .state_text import REHEARSAL_MARK, SHELL_KEY, curl_line, is_key_shown

_VARIABLE: Final = "AVOCADO_API_KEY"
NO_KEY: Final = "none"
"""Sent by clients that require a key although the service does not."""
_MESSAGES: Final = '[{"role": "user", "content": "Hello!"}]'
_NEEDS_PATH_KEY: Final = (
    "# The ollama program sends no key. With %avocado_up --path-key the key can be\n"
    "# part of the URL, and the line for it is shown here."
)
_ANTHROPIC_SINCE: Final = (0, 14, 0)
"""The first Ollama with ``/v1/messages`` (github.com/ollama/ollama, its release)."""
_UNVERSIONED: Final = (0, 0, 0)
"""Version of an Ollama that was built from source."""
NEWER_ENGINE: Final = (
    f"%avocado_up --ollama-version {OLLAMA_VERSION} installs one that has it."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snippet:
    """Code that works when pasted."""

    title: str
    """The client's name."""
    language: str
    """``shell``, ``python``, ``javascript`` or ``yaml``."""
    code: str


class Snippets(tuple[Snippet, ...]):  # noqa: SLOT001  (a tuple can have no slots)
    """Snippets that print as one text, each under its client's name."""

    is_rehearsal = False

    def __str__(self) -> str:
        mark = f"{REHEARSAL_MARK}\n\n" if self.is_rehearsal else ""
        return mark + "\n\n".join(f"## {item.title}\n\n{item.code}" for item in self)

    def _repr_pretty_(self, printer: object, _cycle: bool) -> None:
        """Print the text where IPython shows the value."""
        printer.text(str(self))  # type: ignore[attr-defined]  # IPython's printer


def snippets(state: State, *, show_key: bool) -> Snippets:
    """Return code for each client; a hidden key is a variable in it.

    Args:
        state: Of a running service; without a tunnel its local URL is used.
        show_key: Whether to show a generated key; a key of the user is never shown.
    """
    service = _Service(state, is_key_shown(state, show_key=show_key))
    code = Snippets(_each(service, curl_line(state, show_key=show_key)))
    code.is_rehearsal = state.rehearsal
    return code


def anthropic_unsupported_reason(state: State) -> str:
    """Return why the running engine lacks Anthropic's API; empty if it has it."""
    numbers = re.search(r"(\d+)\.(\d+)\.(\d+)", state.engine)
    version = tuple(map(int, numbers.groups())) if numbers else _UNVERSIONED
    if version == _UNVERSIONED or version >= _ANTHROPIC_SINCE:
        return ""
    running, since = (".".join(map(str, v)) for v in (version, _ANTHROPIC_SINCE))
    return f"Ollama {running} has no Anthropic API; {since} and later have it."


def _each(service: _Service, curl: str) -> Iterable[Snippet]:
    for title, language, code in (
        ("curl", "shell", curl),
        ("openai (Python)", "python", _openai(service)),
        ("openai (JavaScript)", "javascript", _openai_js(service)),
        ("ollama (Python)", "python", _ollama(service)),
        ("ollama (program)", "shell", _ollama_program(service)),
        ("anthropic (Python)", "python", _anthropic(service)),
        ("Claude Code", "shell", _claude_code(service)),
        ("LangChain (Python)", "python", _langchain(service)),
        ("Continue (config.yaml)", "yaml", _continue(service)),
        ("Open WebUI", "shell", _open_webui(service)),
    ):
        yield Snippet(title=title, language=language, code=code)


class _Service:
    """URL, key and model, quoted for each language.

    A JSON string is also a literal of Python, JavaScript and YAML.
    """

    def __init__(self, state: State, is_key_shown: bool) -> None:
        self.plain_url = state.url or state.local_url
        self.plain_model = state.models[0].name if state.models else "MODEL"
        self.has_key, self.has_path_key = bool(state.api_key), state.path_key
        known = (state.api_key if is_key_shown else "") or NO_KEY
        self.lacks_anthropic = anthropic_unsupported_reason(state)
        self.is_hidden = self.has_key and not is_key_shown
        self.url, self.v1 = _quoted(self.plain_url), _quoted(f"{self.plain_url}/v1")
        self.model = _quoted(self.plain_model)
        self.shell_model = shlex.quote(self.plain_model)
        self.shell_key = SHELL_KEY if self.is_hidden else known
        self.python_key = (
            f'os.environ["{_VARIABLE}"]' if self.is_hidden else _quoted(known)
        )
        self.js_key = f"process.env.{_VARIABLE}" if self.is_hidden else _quoted(known)
        self.yaml_key = (
            f"${{{{ secrets.{_VARIABLE} }}}}  # from ~/.continue/.env"
            if self.is_hidden
            else _quoted(known)
        )

    def python(self, imports: str, code: str) -> str:
        """Return a Python program; it reads a hidden key from the environment."""
        hint = "import os  # in the notebook, avocado.api_key has the key\n\n"
        return f"{hint if self.is_hidden else ''}{imports}\n\n{code}"


def _quoted(text: str) -> str:
    return json.dumps(text)


def _openai(service: _Service) -> str:
    return service.python(
        "from openai import OpenAI",
        "client = OpenAI(\n"
        f"    base_url={service.v1},\n"
        f"    api_key={service.python_key},\n"
        ")\n"
        "answer = client.chat.completions.create(\n"
        f"    model={service.model},\n"
        f"    messages={_MESSAGES},\n"
        ")\n"
        "print(answer.choices[0].message.content)",
    )


def _openai_js(service: _Service) -> str:
    return (
        'import OpenAI from "openai";\n\n'
        "const client = new OpenAI({\n"
        f"  baseURL: {service.v1},\n"
        f"  apiKey: {service.js_key},\n"
        "});\n"
        "const answer = await client.chat.completions.create({\n"
        f"  model: {service.model},\n"
        f"  messages: {_MESSAGES},\n"
        "});\n"
        "console.log(answer.choices[0].message.content);"
    )


def _ollama(service: _Service) -> str:
    headers = ""
    if service.has_key:
        bearer = _quoted(f"Bearer {service.shell_key}")
        if service.is_hidden:
            bearer = f'"Bearer " + {service.python_key}'
        headers = f'    headers={{"Authorization": {bearer}}},\n'
    return service.python(
        "from ollama import Client",
        f"client = Client(\n    host={service.url},\n{headers})\n"
        "answer = client.chat(\n"
        f"    model={service.model},\n"
        f"    messages={_MESSAGES},\n"
        ")\n"
        "print(answer.message.content)",
    )


def _ollama_program(service: _Service) -> str:
    if service.has_key and not service.has_path_key:
        return _NEEDS_PATH_KEY
    key = f'"/{service.shell_key}"' if service.has_key else ""
    host = f"OLLAMA_HOST={shlex.quote(service.plain_url)}{key}"
    return f"{host} ollama run {service.shell_model} 'Hello!'"


def _needs_newer_engine(service: _Service) -> str:
    return f"# {service.lacks_anthropic}\n# {NEWER_ENGINE}"


def _anthropic(service: _Service) -> str:
    if service.lacks_anthropic:
        return _needs_newer_engine(service)
    return service.python(
        "from anthropic import Anthropic",
        "client = Anthropic(\n"
        f"    base_url={service.url},\n"
        f"    api_key={service.python_key},\n"
        ")\n"
        "answer = client.messages.create(\n"
        f"    model={service.model},\n"
        "    max_tokens=512,\n"
        f"    messages={_MESSAGES},\n"
        ")\n"
        'print("".join(part.text for part in answer.content if part.type == "text"))',
    )


def _claude_code(service: _Service) -> str:
    """Return the command with the variables of Ollama's ``cmd/launch/claude.go``."""
    if service.lacks_anthropic:
        return _needs_newer_engine(service)
    models = "".join(
        f"  ANTHROPIC_DEFAULT_{name}_MODEL={service.shell_model} \\\n"
        for name in ("OPUS", "SONNET", "HAIKU")
    )
    return (
        f"ANTHROPIC_BASE_URL={shlex.quote(service.plain_url)} \\\n"
        f'  ANTHROPIC_AUTH_TOKEN="{service.shell_key}" ANTHROPIC_API_KEY= \\\n'
        f"{models}  claude --model {service.shell_model}"
    )


def _langchain(service: _Service) -> str:
    return service.python(
        "from langchain_openai import ChatOpenAI",
        "llm = ChatOpenAI(\n"
        f"    base_url={service.v1},\n"
        f"    api_key={service.python_key},\n"
        f"    model={service.model},\n"
        ")\n"
        'print(llm.invoke("Hello!").content)',
    )


def _continue(service: _Service) -> str:
    """Return a configuration (docs.continue.dev/reference, ``config.yaml``)."""
    return (
        "name: Spicy Avocado\n"
        "version: 0.0.1\n"
        "schema: v1\n"
        "models:\n"
        f"  - name: {service.model}\n"
        "    provider: openai\n"
        f"    model: {service.model}\n"
        f"    apiBase: {service.v1}\n"
        f"    apiKey: {service.yaml_key}\n"
        "    roles: [chat, edit, apply]"
    )


def _open_webui(service: _Service) -> str:
    """Return the command that starts its container (docs.openwebui.com)."""
    return (
        "docker run -d --name open-webui -p 3000:8080 \\\n"
        "  -v open-webui:/app/backend/data -e ENABLE_OLLAMA_API=false \\\n"
        f"  -e OPENAI_API_BASE_URL={shlex.quote(f'{service.plain_url}/v1')} \\\n"
        f'  -e OPENAI_API_KEY="{service.shell_key}" \\\n'
        "  ghcr.io/open-webui/open-webui:main"
    )
