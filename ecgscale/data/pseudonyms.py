"""Patients as codes that say nothing to whoever holds a list of identities: ranks of hashes under a secret of home.

Splits are hashed with a public salt instead, so that all sites split alike. Where two homes are to have the same codes,
and so the same patients in a fraction of the training data, the file of the secret is copied from one to the other.
"""

import contextlib
import os
import re
import secrets
from pathlib import Path

import numpy as np

from ecgscale.data import split
from ecgscale.records import own_mark

FILE = "patients.salt"
_BYTES = 32


def secret(home: Path) -> str:
    """The secret of a home, drawn when it is first asked for; only its owner may read it.

    Raises ValueError if the file holds none: codes of an empty secret could be guessed. Raises OSError if the disk is
    full.
    """
    path = home / FILE
    home.mkdir(parents=True, exist_ok=True)
    drawn = home / f".{FILE}.{own_mark()}.partial"
    if not path.is_file():
        try:
            with open(os.open(drawn, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_hex(_BYTES) + "\n")
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):  # another process was first: its secret holds
                os.link(drawn, path)
        finally:
            drawn.unlink(missing_ok=True)
    said = path.read_text(errors="replace").strip()
    if not re.fullmatch(rf"[0-9a-f]{{{2 * _BYTES}}}", said):
        raise ValueError(
            f"{FILE} in the home folder holds no secret ({2 * _BYTES} hex digits): copy it again from the home whose "
            "patients are to have the same codes, or remove it, and another is drawn"
        )
    return said


def codes(patients: np.ndarray, salt: str, key: str) -> np.ndarray:
    """Int32 codes [n] of patients' identities: which is which takes the key, and none says when somebody came."""
    distinct, inverse = split.distinct(patients)
    return split.shuffled_ranks(distinct, f"patient/{key}/{salt}").astype(np.int32)[inverse]
