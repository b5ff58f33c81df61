"""Exports of hospital systems (DICOM ECG, GE MUSE, Philips, HL7 aECG, SCP-ECG, ISHNE) through ecgdatakit, an extra."""

import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from ecgscale.data.recording import MalformedRecordError

SUFFIXES = (".dcm", ".xml", ".scp", ".ecg")
INSTALL = "pip install 'ecgscale[clinical]'"


def is_there() -> bool:
    """Whether the library is installed."""
    return find_spec("ecgdatakit") is not None


def read(path: Path) -> tuple[np.ndarray, float, tuple[str, ...], bool]:
    """Signals [n_leads, n_samples], their rate in Hz, the names of the leads, and whether they are mV or steps.

    Nothing else of the file is kept: names, dates and numbers of patients stay there. Raises ValueError if the library
    is not installed, MalformedRecordError for a file that it cannot read.
    """
    if not is_there():
        raise ValueError(f"{path.suffix} files are read by ecgdatakit, which is not installed; run: {INSTALL}")
    from ecgdatakit import FileParser  # type: ignore[import-not-found]

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            leads = FileParser.parse(path).leads
            physical = all(lead.resolution_unit or lead.units for lead in leads)
            if physical:
                leads = [lead.to_physical().convert_units("mV") for lead in leads]
    except Exception as error:  # whatever a damaged file makes of it; its words may be those of a patient
        raise MalformedRecordError(f"ecgdatakit cannot read the file ({type(error).__name__})") from None
    rates, lengths = {float(lead.sampling_rate) for lead in leads}, {len(lead.samples) for lead in leads}
    if len(rates) != 1 or len(lengths) != 1:
        raise MalformedRecordError("file has leads of several rates or lengths" if leads else "file has no lead")
    signal = np.stack([np.asarray(lead.samples, dtype=np.float32) for lead in leads])
    return signal, rates.pop(), tuple(lead.label for lead in leads), physical
