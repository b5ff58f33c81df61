"""What datasets call the same finding: a small table, for heads that are asked about another dataset's labels.

Only names that mean one thing in their dataset's own documentation are here. The numbers of GE Marquette's 12SL program
(HEEDB) are not: its guide is not public. Who has it adds a column "12sl" to ``CONCEPTS``.
"""

from collections.abc import Mapping, Sequence

# Finding -> what each vocabulary calls it. scp: PTB-XL's SCP-ECG statements (scp_statements.csv); challenge: the scored
# classes of the 2021 challenge; cpsc: CPSC2018, whose NORM is SNOMED's sinus rhythm; chapman: Chapman-Shaoxing's
# rhythms, where AF is flutter and AFIB fibrillation; ludb: the words of LUDB's headers; cinc2017: the four classes of
# the 2017 challenge, whose N is "normal sinus rhythm"; mitbih: the marks of MIT-BIH, whose N is that too; cart: what
# the ECG carts of MIMIC-IV-ECG say (readers.cart), whose findings are called as here.
CONCEPTS: dict[str, Mapping[str, str]] = {
    "first-degree AV block": {
        "code": "1dAVb",
        "scp": "1AVB",
        "cpsc": "I-AVB",
        "challenge": "IAVB",
        "cart": "first-degree AV block",
    },
    "right bundle branch block": {
        "code": "RBBB",
        "scp": "CRBBB",
        "cpsc": "RBBB",
        "challenge": "RBBB",
        "cart": "right bundle branch block",
    },
    "left bundle branch block": {
        "code": "LBBB",
        "scp": "CLBBB",
        "cpsc": "LBBB",
        "challenge": "LBBB",
        "cart": "left bundle branch block",
    },
    "sinus bradycardia": {
        "code": "SB",
        "scp": "SBRAD",
        "challenge": "SB",
        "chapman": "SB",
        "ludb": "sinus bradycardia",
        "mitbih": "SBR",
        "cart": "sinus bradycardia",
    },
    "sinus tachycardia": {
        "code": "ST",
        "scp": "STACH",
        "challenge": "STach",
        "chapman": "ST",
        "ludb": "sinus tachycardia",
        "cart": "sinus tachycardia",
    },
    "atrial fibrillation": {
        "code": "AF",
        "scp": "AFIB",
        "cpsc": "AF",
        "challenge": "AF",
        "chapman": "AFIB",
        "ludb": "atrial fibrillation",
        "cinc2017": "atrial fibrillation",
        "mitbih": "AFIB",
        "cart": "atrial fibrillation",
    },
    "atrial flutter": {
        "scp": "AFLT",
        "challenge": "AFL",
        "chapman": "AF",
        "ludb": "atrial flutter",
        "mitbih": "AFL",
        "cart": "atrial flutter",
    },
    "sinus rhythm": {
        "scp": "SR",
        "cpsc": "NORM",
        "challenge": "NSR",
        "chapman": "SR",
        "ludb": "sinus rhythm",
        "cinc2017": "normal sinus rhythm",
        "mitbih": "N",
        "cart": "sinus rhythm",
    },
    "premature ventricular beats": {
        "scp": "PVC",
        "cpsc": "PVC",
        "challenge": "PVC",
        "cart": "premature ventricular beats",
    },
    "premature atrial beats": {"scp": "PAC", "cpsc": "PAC", "challenge": "PAC", "cart": "premature atrial beats"},
}
# Label sets that are of a vocabulary; a rhythm set is its dataset's.
VOCABULARIES: dict[str, str] = {
    "code6": "code",
    "cart": "cart",
    "diagnostic": "scp",
    "form": "scp",
    "ptbxl:rhythm": "scp",
    "cpsc9": "cpsc",
    "scored26": "challenge",
    "chapman:rhythm": "chapman",
    "ludb:rhythm": "ludb",
    "cinc2017:rhythm": "cinc2017",
    "mitbih:rhythm": "mitbih",
    "12sl": "12sl",
}


def vocabulary(corpus: str, label_set: str) -> str:
    """The vocabulary of a corpus' label set; one of its own if it is not in the table."""
    base = corpus.partition("@")[0].removesuffix("-sample")
    whole = label_set.partition("/")[0]
    return VOCABULARIES.get(f"{base}:{whole}") or VOCABULARIES.get(whole) or f"{base}:{whole}"


def matched(trained: Sequence[str], trained_in: str, asked: Sequence[str], asked_in: str) -> list[tuple[int, int]]:
    """Pairs of places (in ``trained``, in ``asked``) of labels that mean the same, in the order of ``asked``.

    Labels of one vocabulary match by name, those of two by ``CONCEPTS``.
    """
    if trained_in == asked_in:
        means = {name: name for name in trained}
        names = list(asked)
    else:
        means = {said[trained_in]: concept for concept, said in CONCEPTS.items() if trained_in in said}
        concept_of = {said[asked_in]: concept for concept, said in CONCEPTS.items() if asked_in in said}
        names = [concept_of.get(name, "") for name in asked]
    place = {means[name]: i for i, name in enumerate(trained) if name in means}
    return [(place[name], j) for j, name in enumerate(names) if name in place]
