"""Secrets that Kaggle and Google Colab keep for a notebook."""

from __future__ import annotations

import os
import sys
import threading
from typing import Final

from ..errors import SecretMissing

KAGGLE_MARK: Final = "KAGGLE_KERNEL_RUN_TYPE"
_COLAB: Final = "google.colab"


def has_platform_secrets() -> bool:
    """Tell whether this platform has a store of secrets that we can read."""
    return KAGGLE_MARK in os.environ or _COLAB in sys.modules


def platform_secret(name: str) -> str | None:
    """Return a secret of Kaggle or Colab; None where there is none of that name.

    Colab's answer comes through the page: it blocks for up to 10 s under a lock, and
    outside the foreground it would take the answers of other questions. So a thread
    is refused it.

    Raises:
        SecretMissing: If it may be there and is not handed out, with what to do.
    """
    for read in (_from_kaggle, _from_colab):
        value = read(name)
        if value:
            return value
    return None


def _from_kaggle(name: str) -> str | None:
    """Ask Kaggle, which blocks for up to 40 s.

    Its errors are those of ``patches/kaggle_secrets.py`` in Kaggle/docker-python.

    Raises:
        SecretMissing: If the notebook has no internet.
    """
    if KAGGLE_MARK not in os.environ:
        return None
    try:
        from kaggle_secrets import UserSecretsClient

        return str(UserSecretsClient().get_secret(name))
    except ConnectionError:
        raise SecretMissing(
            f"Kaggle's secrets cannot be reached, so {name} cannot be read.",
            "Switch on Internet in the notebook's settings (it needs a verified "
            "phone number).",
        ) from None
    except Exception:  # noqa: BLE001  (its errors share no base; absent is absent)
        return None


def _from_colab(name: str) -> str | None:
    """Ask Colab.

    Its errors are those of ``google/colab/userdata.py`` in googlecolab/colabtools,
    told by name: the older versions lack some of them.

    Raises:
        SecretMissing: If this notebook may not have it, or nobody answers.
    """
    if _COLAB not in sys.modules:
        return None
    if threading.current_thread() is not threading.main_thread():
        raise SecretMissing(
            f"{name} may be a secret of Colab, which only a cell in the foreground "
            "can read.",
            f"Read it in a cell first: {name} = userdata.get({name!r}), and pass it.",
        )
    try:
        from google.colab import userdata

        return str(userdata.get(name))
    except Exception as error:  # noqa: BLE001  (its errors share no base)
        refusals = {
            "NotebookAccessError": (
                f"Colab has the secret {name}, and this notebook has no access to it.",
                "Switch on its Notebook access under Secrets (the key at the left).",
            ),
            "TimeoutException": (
                f"Colab did not hand out the secret {name} in time.",
                "Keep this notebook open in a browser and run the cell again.",
            ),
        }
        if type(error).__name__ in refusals:
            raise SecretMissing(*refusals[type(error).__name__]) from None
        return None
