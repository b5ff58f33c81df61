"""What a model says of many recordings, as a table: of a prepared corpus, or of files that are in none."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ecgscale import data
from ecgscale.data import waveform
from ecgscale.data.alike import prepared
from ecgscale.data.recording import LEADS, MalformedRecordError, Recording
from ecgscale.data.split import SPLITS
from ecgscale.export.model import Model

_AT_A_TIME = 256
Ask = Callable[[np.ndarray], pd.DataFrame]


def features_table(found: np.ndarray) -> pd.DataFrame:
    """Columns f0, f1, ... of features [n, width]."""
    return pd.DataFrame(found, columns=[f"f{i}" for i in range(found.shape[1])])


def labels_table(model: Model) -> Ask:
    """How features become a column a label: its probability, or a number in its unit, which the column names.

    Raises ValueError for a model without a head.
    """
    model.answers(np.zeros((0, model.backbone.width), np.float32))
    units = {name: number.unit for name, number in model.numbers.items()}
    columns = [f"{name} ({units[name]})" if units.get(name) else name for name in model.labels]
    return lambda found: pd.DataFrame(model.answers(found), columns=columns)


def of_corpus(model: Model, name: str, home: Path, ask: Ask = features_table) -> pd.DataFrame:
    """One row a recording of a prepared corpus that is in a split: its ``row`` there, its ``split``, the answers."""
    corpus = data.open_corpus(name, home)
    rows = np.flatnonzero(np.asarray(corpus.split) < SPLITS.index("none"))
    head = pd.DataFrame({"row": rows, "split": [SPLITS[code] for code in corpus.split[rows]]})
    return pd.concat([head, ask(model.features_in(corpus, rows))], axis=1)


def of_files(
    model: Model,
    files: Sequence[Path],
    ask: Ask = features_table,
    *,
    sampling_hz: float | None = None,
    leads: Sequence[str] = LEADS,
    say: Callable[[str], None] = lambda _: None,
) -> pd.DataFrame:
    """One row a recording: ``file``, counted from 0 in this order, the ``recording`` in it, answers.

    Files are WFDB headers (.hea), or .npy arrays in millivolts, [n_leads, n_samples] or [n, n_leads, n_samples] at
    ``sampling_hz``. One that cannot be used is left out; ``say`` hears which, by its number, and why. Raises ValueError
    if none can.
    """
    answers: list[pd.DataFrame] = []
    waiting: list[tuple[int, int, Recording]] = []

    def ask_all() -> None:
        corpus, reasons = prepared([recording for _, _, recording in waiting], model.preprocessing)
        for at, why in sorted(reasons.items()):
            say(f"file {waiting[at][0]}, recording {waiting[at][1]}: left out, {why}")
        used = np.array([at for at in range(len(waiting)) if at not in reasons], dtype=np.int64)
        if len(used):
            places = [waiting[at][:2] for at in used]
            answers.append(
                pd.concat(
                    [pd.DataFrame(places, columns=["file", "recording"]), ask(model.features_in(corpus, used))], axis=1
                )
            )
        waiting.clear()

    for number, file in enumerate(files):
        try:
            for place, recording in enumerate(_recordings(file, sampling_hz, leads)):
                waiting.append((number, place, recording))
                if len(waiting) == _AT_A_TIME:
                    ask_all()
        except MalformedRecordError as error:
            say(f"file {number}: left out, {error}")
    ask_all()
    if not answers:
        raise ValueError(f"none of {len(files)} files holds a recording that can be used")
    return pd.concat(answers, ignore_index=True)


def files_in(place: Path) -> list[Path]:
    """A file, or all recordings below a folder, sorted. Raises FileNotFoundError where there is none."""
    if place.is_dir():
        found = sorted(path for kind in ("*.hea", "*.npy") for path in place.rglob(kind))
        if not found:
            raise FileNotFoundError(f"the folder {place.name} holds no .hea or .npy")
        return found
    if not place.is_file():
        raise FileNotFoundError(f"there is no file or prepared corpus {place.name}")
    return [place]


def _recordings(file: Path, sampling_hz: float | None, leads: Sequence[str]) -> Iterator[Recording]:
    if file.suffix == ".hea":
        yield waveform.read(file)
        return
    if file.suffix != ".npy":
        raise ValueError(f"{file.name}: a recording is a WFDB header (.hea) or an array (.npy)")
    if sampling_hz is None:
        raise ValueError(f"{file.name}: an array does not say its rate; give --sampling-hz")
    try:
        array = np.load(file, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError):
        raise MalformedRecordError("it is no whole array") from None
    array = array[None] if array.ndim == 2 else array
    if array.ndim != 3 or array.dtype.kind not in "fiu" or array.shape[1] != len(leads):
        raise ValueError(
            f"{file.name}: an array of shape {array.shape} is not [n, {len(leads)} leads, n_samples] in millivolts; "
            "name its leads with --leads"
        )
    for one in array:
        yield Recording(np.asarray(one, np.float32), sampling_hz, tuple(leads))
