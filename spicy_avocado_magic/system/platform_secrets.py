"""Secrets stored by Kaggle and Google Colab for a notebook."""

from __future__ import annotations

import os
import sys
import threading
from typing import Final

from ..errors import SecretMissing

KAGGLE_MARK: Final = "KAGGLE_KERNEL_RUN_TYPE"
_COLAB: Final = "google.colab"


def has_platform_secrets() -> bool:
    """Return whether this platform has a secret store that we can read."""
    return KAGGLE_MARK in os.environ or _COLAB in sys.modules


def platform_secret(name: str) -> str | None:
    """Return a secret of Kaggle or Colab, or None if it does not exist.

    Colab's reply comes through the notebook page: the call blocks for up to 10 s
    under a lock, and in a background thread it would consume replies to other
    requests. So only the main thread may read it.

    Raises:
        SecretMissing: If the secret may exist but cannot be read, with what to do.
    """
    for read in (_from_kaggle, _from_colab):
        value = read(name)
        if value:
            return value
    return None


def _from_kaggle(name: str) -> str | None:
    """Return a secret of Kaggle, or None. Blocks for up to 40 s.

    The errors are those of ``patches/kaggle_secrets.py`` in Kaggle/docker-python.

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
            "Switch on Internet in the notebook's settings (this needs a verified "
            "phone number).",
        ) from None
    except Exception:  # noqa: BLE001  (its errors have no common base)
        return None


def _from_colab(name: str) -> str | None:
    """Return a secret of Colab, or None.

    The errors are those of ``google/colab/userdata.py`` in googlecolab/colabtools,
    matched by name because older versions lack some of them.

    Raises:
        SecretMissing: If this notebook has no access, or no reply comes in time.
    """
    if _COLAB not in sys.modules:
        return None
    if threading.current_thread() is not threading.main_thread():
        raise SecretMissing(
            f"{name} may be a Colab secret, which only a cell in the foreground can "
            "read, not a background thread.",
            f"Read it in a cell first: {name} = userdata.get({name!r}), and pass it.",
        )
    try:
        from google.colab import userdata

        return str(userdata.get(name))
    except Exception as error:  # noqa: BLE001  (its errors have no common base)
        refusals = {
            "NotebookAccessError": (
                f"Colab has the secret {name}, but this notebook has no access to it.",
                "Switch on its Notebook access under Secrets (the key at the left).",
            ),
            "TimeoutException": (
                f"Colab did not return the secret {name} in time.",
                "Keep this notebook open in a browser and run the cell again.",
            ),
        }
        if type(error).__name__ in refusals:
            raise SecretMissing(*refusals[type(error).__name__]) from None
        return None
