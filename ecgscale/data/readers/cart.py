"""What an ECG cart's statements mean: a small table from the words of its program to findings.

The carts of MIMIC-IV-ECG write up to 18 lines of English a recording ("Sinus rhythm with 1st degree A-V block",
"Possible inferior infarct - age undetermined", "Pacemaker rhythm - no further analysis"). A finding is there if a line
says so, absent if none does, and missing where the cart is in doubt, or has not looked.
"""

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from ecgscale.data import columns
from ecgscale.data.corpus import MISSING
from ecgscale.data.tables import Table, UnreadableTable

# Finding -> how carts put it; names are those of data.concepts where it has the finding. A pattern is looked for in
# each clause of a statement, in small letters.
FINDINGS: dict[str, str] = {
    "sinus rhythm": r"\bsinus rhythm",
    "sinus bradycardia": r"\bsinus bradycardia",
    "sinus tachycardia": r"\bsinus tachycardia",
    "sinus arrhythmia": r"\bsinus arrhythmia",
    "atrial fibrillation": r"\batrial fib|\ba-?fib",
    "atrial flutter": r"\batrial flutter|\bfib(?:rillation)? ?(?:/|or) ?flut",
    "premature atrial beats": r"\bpac(?:s|\(s\))?(?:\W|$)|\batrial premature|\bpremature atrial",
    "premature ventricular beats": r"\bpvc(?:s|\(s\))?(?:\W|$)|\bventricular premature|\bpremature ventricular",
    "first-degree AV block": r"\b(?:1st|first)[ -]degree a-?v block",
    "right bundle branch block": r"(?<!incomplete )\bright bundle[ -]branch block|(?<!incomplete )\brbbb",
    "left bundle branch block": r"(?<!incomplete )\bleft bundle[ -]branch block|(?<!incomplete )\blbbb",
    "left anterior fascicular block": r"\bleft anterior fascicular block",
    "paced rhythm": r"\bpacemaker|\bpacing\b|\bpaced\b",
    "left ventricular hypertrophy": r"\bleft ventricular hypertrophy|\blvh\b",
    "infarct": r"\binfarct|\bstemi\b|\belevation mi\b",
    "left axis deviation": r"\bleft axis deviation",
    "right axis deviation": r"\bright axis deviation",
    "low QRS voltage": r"\blow (?:qrs )?voltage",
    "long QT": r"\b(?:prolonged|long) qt",
    "normal ECG": r"^normal ecg$",
}
# CODE's six labels by the findings above: what one head says of both corpora.
CODE6 = {
    "1dAVb": "first-degree AV block",
    "RBBB": "right bundle branch block",
    "LBBB": "left bundle branch block",
    "SB": "sinus bradycardia",
    "AF": "atrial fibrillation",
    "ST": "sinus tachycardia",
}
_CLAUSES = re.compile(r"\bwith\b|[,;:]|\s-\s|^-\s*|\band\b(?!/)")
_DOUBT = re.compile(
    r"\b(?:possibl[ey]|probabl[ey]|borderline|consider|suggests?|suspect(?:ed)?|question|may|might|could|or|likely)\b"
    r"|cannot|\brule[ds]? out|\br/o\b|\?|fib/flut"
)
_DENIED = re.compile(r"^no\b|\bno (?:evidence|longer)\b|\bnot\b|\babsen(?:t|ce)\b")
_NOT_ANALYSED = re.compile(r"no further (?:analysis|interpretation)")
_UNREADABLE = re.compile(r"unsuitable for analysis|unable to analy[sz]e|analysis (?:is )?not possible")
_SAID, _DOUBTED = 2, 1


def meant(statement: str) -> np.ndarray:
    """What a statement says of each finding, uint8 [n_findings]: 2 it is there, 1 it may be, 0 nothing.

    >>> said = meant("Sinus rhythm with borderline 1st degree A-V block.")
    >>> [finding for finding, value in zip(FINDINGS, said) if value == 2]
    ['sinus rhythm']
    >>> [finding for finding, value in zip(FINDINGS, said) if value == 1]
    ['first-degree AV block']
    """
    found = np.zeros(len(FINDINGS), dtype=np.uint8)
    text = " ".join(statement.casefold().strip(" .*").split())
    for clause in (part.strip() for part in _CLAUSES.split(text)):
        if not clause or (_DENIED.search(clause) and "cannot" not in clause):
            continue
        value = _DOUBTED if _DOUBT.search(clause) else _SAID
        for at, pattern in enumerate(_PATTERNS):
            if pattern.search(clause):
                found[at] = max(found[at], value)
    return found


_PATTERNS = [re.compile(pattern) for pattern in FINDINGS.values()]


def read(table: Table, reports: Sequence[str]) -> tuple[np.ndarray, dict[str, int]]:
    """Findings uint8 [n_rows, n_findings] (0, 1 or MISSING) of a table's columns of statements; and what is unknown.

    Each distinct statement is read once. A row is missing as a whole if its cart said nothing, or that it could not
    read; of one that it did not analyse (a paced rhythm) is missing what it does not say. Raises UnreadableTable if
    no row says anything.
    """
    said = np.zeros((len(table), len(FINDINGS)), dtype=np.uint8)
    any_word, not_analysed, unreadable = (np.zeros(len(table), dtype=bool) for _ in range(3))
    for column in reports:
        codes, distinct = pd.factorize(table.rows[column])
        if not len(distinct):
            continue
        cells = [str(cell) for cell in distinct]
        said = np.maximum(said, np.stack([meant(cell) for cell in cells])[codes])
        any_word |= np.array([columns.bare(cell) not in columns.BLANK for cell in cells])[codes]
        not_analysed |= np.array([bool(_NOT_ANALYSED.search(cell.casefold())) for cell in cells])[codes]
        unreadable |= np.array([bool(_UNREADABLE.search(cell.casefold())) for cell in cells])[codes]
    if len(table) and not any_word.any():
        raise UnreadableTable(
            f"no row of {table.name} says anything in columns {reports[0]!r} to {reports[-1]!r}: download it again"
        )
    labels = np.where(said == _SAID, 1, np.where(said == _DOUBTED, MISSING, 0)).astype(np.uint8)
    labels[not_analysed[:, None] & (said != _SAID)] = MISSING
    labels[~any_word | unreadable] = MISSING
    notes = {
        f"no statement in {table.name}: labels missing": int((~any_word).sum()),
        f"recording of {table.name} that the cart could not read: labels missing": int(unreadable.sum()),
        f"recording of {table.name} that the cart did not analyse further (paced): what it does not say missing": int(
            (not_analysed & ~unreadable).sum()
        ),
    }
    notes |= {
        f"{finding} that the cart of {table.name} is in doubt of: missing": int(n)
        for finding, n in zip(FINDINGS, (said == _DOUBTED).sum(axis=0), strict=True)
        if n
    }
    return labels, {what: n for what, n in notes.items() if n}
