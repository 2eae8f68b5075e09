"""What the engine is started with."""

from __future__ import annotations

from pathlib import Path

from spicy_avocado_magic.config.settings import Settings
from spicy_avocado_magic.engine.ollama_process import ollama_environ


def variables(settings: Settings | None = None, **environ: str) -> dict[str, str]:
    """Return the variables for a port, a folder and one library folder."""
    return ollama_environ(
        settings or Settings(),
        port=4711,
        models_dir=Path("/models"),
        library_path=["/usr/lib64-nvidia"],
        environ=environ,
    )


def test_our_variables_cannot_be_overridden() -> None:
    """Loopback, our folder, no cloud, no pruning: whatever the user's shell says."""
    made = variables(OLLAMA_HOST="0.0.0.0", OLLAMA_MODELS="/x", OLLAMA_NO_CLOUD="0")
    assert made["OLLAMA_HOST"] == "127.0.0.1:4711"
    sneaked = Settings(engine_env=(("OLLAMA_HOST", "0.0.0.0"),))
    assert variables(sneaked)["OLLAMA_HOST"] == "127.0.0.1:4711"
    assert made["OLLAMA_MODELS"] == "/models"
    assert made["OLLAMA_NO_CLOUD"] == made["OLLAMA_NOPRUNE"] == "1"
    assert made["OLLAMA_KEEP_ALIVE"] == "-1"


def test_foreign_settings_and_tokens_stay_out() -> None:
    """Nothing of the tunnel or of another Ollama reaches the engine."""
    made = variables(NGROK_AUTHTOKEN="t", OLLAMA_ORIGINS="*", AVOCADO_TOKEN="t", A="b")
    assert made["A"] == "b"
    assert not {"NGROK_AUTHTOKEN", "OLLAMA_ORIGINS", "AVOCADO_TOKEN"} & set(made)


def test_proxies_pass_through() -> None:
    """The engine pulls by itself at times."""
    assert variables(HTTPS_PROXY="http://p")["HTTPS_PROXY"] == "http://p"


def test_the_users_settings_are_passed_on() -> None:
    """Options win over variables of the same meaning."""
    env = (("OLLAMA_KEEP_ALIVE", "1h"), ("OLLAMA_NUM_PARALLEL", "4"))
    made = variables(Settings(engine_env=env))
    assert (made["OLLAMA_KEEP_ALIVE"], made["OLLAMA_NUM_PARALLEL"]) == ("1h", "4")
    made = variables(Settings(engine_env=env, keep_alive="5m", context=8192))
    assert made["OLLAMA_KEEP_ALIVE"] == "5m"
    assert made["OLLAMA_CONTEXT_LENGTH"] == "8192"


def test_library_folders_are_added_behind_the_users() -> None:
    """What is there already keeps its place and comes once."""
    assert variables()["LD_LIBRARY_PATH"] == "/usr/lib64-nvidia"
    made = variables(LD_LIBRARY_PATH="/a:/usr/lib64-nvidia")
    assert made["LD_LIBRARY_PATH"] == "/a:/usr/lib64-nvidia"
