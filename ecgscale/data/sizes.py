"""The outline of a corpus: how large it is, known before it is prepared from what its authors publish."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from ecgscale.data import corpus, embedded, simulate
from ecgscale.data.library import open_corpus
from ecgscale.data.readers import mimic
from ecgscale.data.recording import INDEPENDENT_LEADS, LEADS

PREPARED_SAMPLES = 1000  # 10 s at 100 Hz


@dataclass(frozen=True)
class Outline:
    """Recordings in train, val and test, classes of each label set, samples of a recording, and whether it is here.

    ``n_leads`` that are stored, and whether twelve follow from them.
    """

    n_records: tuple[int, int, int]
    n_labels: Mapping[str, int]
    n_samples: int = PREPARED_SAMPLES
    prepared: bool = False
    n_leads: int = len(INDEPENDENT_LEADS)
    twelve_leads: bool = True


# Published sizes (sources in the datasets' cards); CODE's validation is a twentieth of its pretraining patients.
PUBLISHED: dict[str, Outline] = {
    "code": Outline((1_985_749, 104_513, 232_251), {"code6": 6}),
    "code15": Outline((276_623, 34_578, 34_578), {"code6": 6, "normal": 1, "sex": 1}),
    "heedb": Outline((8_486_733, 1_060_842, 1_060_842), {"12sl": 150}),
    "icentia11k": Outline((3_467_482, 433_435, 433_435), {}, n_leads=1, twelve_leads=False),  # ten-second windows
    "code-test": Outline((0, 0, 827), {"code6": 6}),
    "cinc2017": Outline((5_117, 1_279, 2_132), {"rhythm": 4}, n_leads=1, twelve_leads=False),
    "chapman": Outline((8_517, 1_064, 1_065), {"rhythm": 11, "sex": 1}),
    "cpsc2018": Outline((5_501, 688, 688), {"cpsc9": 9}),
    "csn": Outline((36_122, 4_515, 4_515), {"csn38": 38}),
    "ptbxl": Outline(
        (17_418, 2_183, 2_198),
        {"diagnostic": 44, "subdiagnostic": 23, "superdiagnostic": 5, "form": 19, "rhythm": 12},
    ),
    "echonext": Outline((72_475, 4_626, 5_442), {"shd11": 11}),
    "mitbih": Outline((3_060, 720, 3_960), {"rhythm": 14}, n_leads=2, twelve_leads=False),  # ten-second windows
    "mimic-icd10": Outline((160_000, 40_000, 20_000), {"icd10": 927, **mimic.PUBLISHED_SUBSETS}),
    "mimic": Outline((200_000, 40_000, 80_000), {"icu": 2, "mortality": 6, "sex": 1}),
}


def outline(name: str, home: Path) -> Outline:
    """Outline of a corpus; an embedded one is decoded if need be. Raises ValueError for a name that nobody knows."""
    if name in embedded.EMBEDDED or corpus.is_prepared(home, name):
        opened = open_corpus(name, home)
        n_train, n_val, n_test = (len(opened.rows(part)) for part in ("train", "val", "test"))
        known = {**opened.manifest.label_sets, **opened.manifest.label_subsets}
        n_labels = {label_set: len(classes) for label_set, classes in known.items()}
        leads = tuple(opened.manifest.leads)
        twelve = leads in (LEADS, INDEPENDENT_LEADS)
        n_samples = opened.signal.shape[-1]
        return Outline((n_train, n_val, n_test), n_labels, n_samples, True, len(leads), twelve)
    asked = simulate.parsed(name)
    if asked:
        return Outline(simulate.sizes(asked[0]), {"code6": 6, "sex": 1}, prepared=True)  # made when a run asks for it
    base, _, preparation = name.partition("@")  # "ptbxl@500-ecgfounder": another rate, another recipe
    if base not in PUBLISHED:
        names = [*embedded.EMBEDDED, *PUBLISHED]
        near = get_close_matches(name, names, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names)}"
        raise ValueError(f"there is no corpus {name!r}; {hint}")
    rates = [part for part in preparation.split("-") if part.isdigit()]
    published = PUBLISHED[base]
    return replace(published, n_samples=10 * int(rates[0])) if rates else published
