"""Readers of the datasets, one file each: what a dataset is, its index, and how one of its records is read."""

from ecgscale.data.dataset import Dataset
from ecgscale.data.readers import (
    challenge,
    chapman,
    cinc2017,
    code,
    code15,
    codetest,
    echonext,
    heedb,
    icentia,
    ludb,
    mimic,
    mimic_open,
    mitbih,
    ptbxl,
    sph,
    zzu,
)
from ecgscale.registry import Registry

# Every dataset of the study: to pretrain on, then to probe on, then other sources of the same formats.
DATASETS: Registry[Dataset] = Registry(
    "datasets",
    {
        "code": code.DATASET,
        "code15": code15.DATASET,
        "mimic-icd10": mimic.DATASET,
        "heedb": heedb.DATASET,
        "icentia11k": icentia.DATASET,
        "code-test": codetest.DATASET,
        "cpsc2018": challenge.CPSC2018,
        "csn": challenge.CSN,
        "ptbxl": ptbxl.DATASET,
        "echonext": echonext.DATASET,
        "mimic": mimic.PROBE,
        "mitbih": mitbih.DATASET,
        "cinc2017": cinc2017.DATASET,
        "ludb": ludb.DATASET,
        "sph": sph.DATASET,
        "georgia": challenge.GEORGIA,
        "cpsc2018-extra": challenge.CPSC2018_EXTRA,
        "ptb": challenge.PTB,
        "ptbxl-challenge": challenge.PTBXL,
        "incart": challenge.INCART,
        "chapman": chapman.DATASET,
        "mimic-open": mimic_open.DATASET,
        "zzu-pecg": zzu.DATASET,
    },
    lambda name, thing: "" if isinstance(thing, Dataset) else "it is no ecgscale.data.Dataset",
)

# Datasets with recordings of the same people, split each in its own way: who trains on one may not be probed on the
# other. `mimic-icd10` and `mimic` are not among them, for their folds keep them apart.
SAME_PEOPLE = (
    frozenset({"mimic-open", "mimic"}),
    frozenset({"mimic-open", "mimic-icd10"}),
    frozenset({"code", "code15"}),
    frozenset({"ptbxl", "ptbxl-challenge"}),
    frozenset({"csn", "chapman"}),
)
