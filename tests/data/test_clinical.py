"""Exports of hospital systems through the extra: the same beats and amplitudes as the recordings that were written."""

import base64
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ecgscale import data
from ecgscale.data.own import clinical
from ecgscale.data.recording import LEADS, TWELVE_FROM_EIGHT, Recording

pytest.importorskip("ecgdatakit", reason=f"clinical exports are an extra: {clinical.INSTALL}")
_STEP_UV = 5.0
_MDC = {lead: f"MDC_ECG_LEAD_{lead.upper()}" for lead in LEADS}


def steps(recording: Recording) -> np.ndarray:
    return np.rint(1000 * recording.signal / _STEP_UV).astype("<i2")


def as_muse(file: Path, recording: Recording) -> None:
    """restecg.dtd: eight leads, Base64 of 16-bit integers, microvolts a bit."""
    leads = "".join(
        f"<LeadData><LeadID>{lead}</LeadID><LeadSampleSize>2</LeadSampleSize>"
        f"<LeadSampleCountTotal>{len(values)}</LeadSampleCountTotal>"
        f"<LeadAmplitudeUnitsPerBit>{_STEP_UV}</LeadAmplitudeUnitsPerBit>"
        "<LeadAmplitudeUnits>MICROVOLTS</LeadAmplitudeUnits>"
        f"<WaveFormData>{base64.b64encode(values.tobytes()).decode()}</WaveFormData></LeadData>"
        for lead, values in zip(recording.leads, steps(recording), strict=True)
        if lead not in ("III", "aVR", "aVL", "aVF")
    )
    file.with_suffix(".xml").write_text(
        '<?xml version="1.0" encoding="ISO-8859-1"?><RestingECG><MuseInfo><MuseVersion>9</MuseVersion></MuseInfo>'
        "<PatientDemographics><PatientID>CANARY</PatientID></PatientDemographics>"
        "<Waveform><WaveformType>Rhythm</WaveformType>"
        f"<SampleBase>{recording.sampling_hz:.0f}</SampleBase><SampleExponent>0</SampleExponent>{leads}</Waveform>"
        "</RestingECG>"
    )


def as_aecg(file: Path, recording: Recording) -> None:
    """HL7 V3 (PORT_MT020001): a list of times with its increment, and one of digits with origin and scale a lead."""
    sequences = "".join(
        f'<component><sequence><code code="{_MDC[lead]}" codeSystem="2.16.840.1.113883.6.24"/>'
        f'<value xsi:type="SLIST_PQ"><origin value="0" unit="uV"/><scale value="{_STEP_UV}" unit="uV"/>'
        f"<digits>{' '.join(map(str, values.tolist()))}</digits></value></sequence></component>"
        for lead, values in zip(recording.leads, steps(recording), strict=True)
    )
    file.with_suffix(".xml").write_text(
        '<?xml version="1.0" encoding="UTF-8"?><AnnotatedECG xmlns="urn:hl7-org:v3" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><component><series>'
        '<code code="RHYTHM" codeSystem="2.16.840.1.113883.5.4"/><component><sequenceSet>'
        '<component><sequence><code code="TIME_ABSOLUTE" codeSystem="2.16.840.1.113883.5.4"/>'
        '<value xsi:type="GLIST_TS"><head value="20200101000000.000"/>'
        f'<increment value="{1 / recording.sampling_hz:.6g}" unit="s"/></value></sequence></component>{sequences}'
        "</sequenceSet></component></series></component></AnnotatedECG>"
    )


def as_dicom(file: Path, recording: Recording) -> None:
    """A 12-Lead ECG Waveform object: channels with their source, sensitivity and unit (UCUM)."""
    pydicom = pytest.importorskip("pydicom", reason=f"clinical exports are an extra: {clinical.INSTALL}")
    from pydicom.dataset import Dataset, FileDataset, FileMetaDataset  # type: ignore[import-not-found]
    from pydicom.uid import ExplicitVRLittleEndian, TwelveLeadECGWaveformStorage, generate_uid  # type: ignore[import-not-found]

    def code(value: str, scheme: str, meaning: str) -> Dataset:
        said = Dataset()
        said.CodeValue, said.CodingSchemeDesignator, said.CodeMeaning = value, scheme, meaning
        return said

    def channel(lead: str) -> Dataset:
        said = Dataset()
        said.ChannelSourceSequence = [code(_MDC[lead], "MDC", f"Lead {lead}")]
        said.ChannelSensitivity, said.ChannelSensitivityCorrectionFactor, said.ChannelBaseline = _STEP_UV, 1, 0
        said.ChannelSensitivityUnitsSequence = [code("uV", "UCUM", "microvolt")]
        said.WaveformBitsStored = 16
        return said

    group = Dataset()
    group.WaveformOriginality, group.NumberOfWaveformChannels = "ORIGINAL", len(recording.leads)
    group.NumberOfWaveformSamples, group.SamplingFrequency = recording.signal.shape[1], recording.sampling_hz
    group.ChannelDefinitionSequence = [channel(lead) for lead in recording.leads]
    group.WaveformBitsAllocated, group.WaveformSampleInterpretation = 16, "SS"
    group.WaveformData = np.ascontiguousarray(steps(recording).T).tobytes()
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = TwelveLeadECGWaveformStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    whole = FileDataset(str(file), {}, file_meta=meta, preamble=b"\0" * 128)
    whole.SOPClassUID, whole.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    whole.PatientID, whole.PatientName, whole.Modality = "CANARY", "CANARY", "ECG"
    whole.WaveformSequence = [group]
    pydicom.dcmwrite(file.with_suffix(".dcm"), whole, enforce_file_format=True)


@pytest.mark.parametrize("write", [as_muse, as_aecg, as_dicom], ids=["muse", "aecg", "dicom"])
def test_an_export_becomes_what_was_recorded(write: Callable[[Path, Recording], None], tmp_path: Path) -> None:
    sample = data.open_corpus("ludb-sample", tmp_path / "home")
    eight = np.asarray(sample.signal[:6]) * np.float32(sample.manifest.mv_per_unit)
    twelve = [np.asarray(TWELVE_FROM_EIGHT @ one, dtype=np.float32) for one in eight]
    raw = tmp_path / "raw"
    raw.mkdir()
    for at, signal in enumerate(twelve):
        write(raw / f"ecg{at}", Recording(signal, 100.0, LEADS))
    pd.DataFrame({"file": [f"ecg{at}" for at in range(6)], "patient": range(6)}).to_csv(raw / "labels.csv", index=False)
    opened = data.prepare("clinic", raw, tmp_path / "home", reader="table", workers=1)
    assert opened.manifest.refused == {}
    assert opened.manifest.flaws["flat lead"] == opened.manifest.flaws["not a number"] == 0
    assert np.abs(opened.signal * opened.manifest.mv_per_unit - eight).max() < 0.6 * _STEP_UV / 1000
    assert (opened.peaks >= 0).sum(axis=1).min() > 4
    assert b"CANARY" not in b"".join(file.read_bytes() for file in (tmp_path / "home").rglob("*") if file.is_file())


def test_a_damaged_export_is_a_reason_without_a_name(tmp_path: Path) -> None:
    (tmp_path / "x.xml").write_text("<RestingECG><PatientDemographics><PatientID>CANARY")
    with pytest.raises(data.MalformedRecordError, match="ecgdatakit cannot read the file") as raised:
        clinical.read(tmp_path / "x.xml")
    assert "CANARY" not in str(raised.value)
