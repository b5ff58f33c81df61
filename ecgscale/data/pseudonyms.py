"""Patients as codes that say nothing to whoever holds a list of identities: ranks of hashes under a secret of home.

Splits are hashed with a public salt instead, so that all sites split alike. Where two homes are to have the same codes,
and so the same patients in a fraction of the training data, the file of the secret is copied from one to the other.
"""

import contextlib
import os
import secrets
from pathlib import Path

import numpy as np

from ecgscale.data import split

FILE = "patients.salt"


def secret(home: Path) -> str:
    """The secret of a home, drawn when it is first asked for; only its owner may read it."""
    path = home / FILE
    home.mkdir(parents=True, exist_ok=True)
    drawn = home / f".{FILE}.{os.getpid()}.{secrets.token_hex(4)}"
    if not path.is_file():
        with open(os.open(drawn, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):  # another process was first: its secret holds
            os.link(drawn, path)
        drawn.unlink()
    return path.read_text().strip()


def codes(patients: np.ndarray, salt: str, key: str) -> np.ndarray:
    """Int32 codes [n] of patients' identities: which is which takes the key, and none says when somebody came."""
    distinct, inverse = split.distinct(patients)
    return split.shuffled_ranks(distinct, f"patient/{key}/{salt}").astype(np.int32)[inverse]
