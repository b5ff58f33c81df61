"""A corpus on disk: whole or not at all, labels masked where missing, and damage that shows."""

import json
import os
import random
import threading
from pathlib import Path

import numpy as np
import pytest

from ecgscale.data import checked, corpus, split
from ecgscale.data.corpus import MISSING, Corpus, Slice
from ecgscale.data.peaks import MAX_BEATS, NO_PEAK

N = 40


def written(home: Path, name: str = "small", **changed: object) -> Corpus:
    rng = np.random.default_rng(0)
    arrays = {
        "signal": rng.integers(-500, 500, (N, 8, 50)).astype(np.int16),
        "peaks": np.full((N, MAX_BEATS), NO_PEAK, dtype=np.int16),
        "labels": rng.integers(0, 2, (N, 5)).astype(np.uint8),
        "patient": (np.arange(N) // 2).astype(np.int32),
        "split": split.by_hash(np.arange(N) // 2, "small", (0.6, 0.2, 0.2)),
    }
    said = {"label_sets": {"one": ("a", "b", "c"), "two": ("a", "d")}, "sampling_hz": 100, "mv_per_unit": 0.005}
    said |= {"label_subsets": {"one/rare": ("c", "a")}, "preparation": "none"}
    return corpus.write(home, name, **(arrays | said | changed))  # type: ignore[arg-type]


def test_what_was_written_is_read(tmp_path: Path) -> None:
    first = written(tmp_path)
    again = corpus.read(tmp_path, "small")
    assert again.manifest == first.manifest
    assert np.array_equal(again.signal, first.signal)
    train = first.signal[first.split == split.TRAIN].astype(float)
    assert first.manifest.scale_mv == pytest.approx(train.std() * 0.005, abs=1e-6)
    assert sum(len(first.rows(part)) for part in ("train", "val", "test")) == N


def test_targets_are_columns_of_their_set_and_nan_where_missing(tmp_path: Path) -> None:
    labels = np.zeros((N, 5), dtype=np.uint8)
    labels[:, 2] = 1
    labels[3, 4] = MISSING
    small = written(tmp_path, labels=labels)
    rows = np.arange(N)
    assert small.targets("one", rows)[:, 2].tolist() == [1] * N
    assert np.isnan(small.targets("two", rows)[3, 1])
    assert np.nansum(small.targets("two", rows)) == 0  # MISSING is never cast to a number
    assert small.targets("one/rare", rows).tolist() == [[1, 0]] * N
    assert small.targets("", rows).shape == (N, 0)
    with pytest.raises(ValueError, match="no label set 'three'; it has one, two, one/rare"):
        small.targets("three", rows)


def test_a_patient_in_two_splits_is_refused_when_written_and_when_read(tmp_path: Path) -> None:
    torn = np.zeros(N, dtype=np.uint8)
    torn[0] = split.TEST
    with pytest.raises(ValueError, match="1 patients are in more than one split"):
        written(tmp_path, split=torn)
    assert not corpus.is_prepared(tmp_path, "small")
    written(tmp_path)
    np.save(corpus.folder_of(tmp_path, "small") / "split.npy", torn)
    with pytest.raises(ValueError, match="more than one split"):
        corpus.read(tmp_path, "small")


def test_a_corpus_without_its_manifest_is_not_there(tmp_path: Path) -> None:
    written(tmp_path)
    (corpus.folder_of(tmp_path, "small") / "manifest.json").unlink()
    with pytest.raises(FileNotFoundError, match="ecgscale data prepare small --raw DIR --reader table"):
        corpus.read(tmp_path, "small")


def test_the_digest_is_of_the_content(tmp_path: Path) -> None:
    one, same = written(tmp_path / "a"), written(tmp_path / "b")
    labels = np.array(one.labels)
    labels[0, 0] ^= 1
    other = written(tmp_path / "c", labels=labels)
    assert one.manifest.digest == same.manifest.digest != other.manifest.digest
    json.loads((corpus.folder_of(tmp_path / "a", "small") / "manifest.json").read_text())


def test_the_second_of_two_writers_takes_the_firsts_corpus(tmp_path: Path) -> None:
    first = written(tmp_path)
    assert written(tmp_path).manifest == first.manifest
    assert [path.name for path in (tmp_path / "corpora").iterdir()] == ["small"]


@pytest.mark.parametrize("fraction", [0.0, -1.0, 1.5])
def test_a_slice_is_a_fraction(fraction: float) -> None:
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        Slice("code", fraction)


@pytest.mark.parametrize("file", ["signal.npy", "labels.npy", "patient.npy", "split.npy", "manifest.json"])
def test_no_flipped_bit_of_a_corpus_goes_unnoticed(file: str, tmp_path: Path) -> None:
    """Each of 200 is named with what to do, or changes nothing that is read."""
    sound, draw, silent, said = written(tmp_path), random.Random(file), 0, list[str]()
    path = corpus.folder_of(tmp_path, "small") / file
    whole = path.read_bytes()
    for _ in range(200):
        damaged = bytearray(whole)
        damaged[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        try:
            found = checked.check(tmp_path, "small")
        except corpus.Damaged as error:
            said.append(str(error))
        else:
            same = all(np.array_equal(getattr(found, array), getattr(sound, array)) for array in corpus.ARRAYS)
            silent += not (same and found.manifest == sound.manifest)
    assert silent == 0
    assert len(said) > 100
    assert all(sentence.startswith(f"corpus small: {file} damaged (") for sentence in said)
    assert all(
        sentence.endswith("data prepare small --raw DIR --reader table (or your reader's file, and what you said)")
        for sentence in said
    )
    path.write_bytes(whole)
    assert checked.check(tmp_path, "small").manifest == sound.manifest


def aged(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the files of the corpus be older than the steps in which a file system counts time."""
    monkeypatch.setattr(checked, "_STEP_NS", -1)


def test_what_was_checked_is_not_read_again_until_somebody_touches_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path)
    read = []
    hashed = corpus.sha256

    def counted(array: np.ndarray) -> str:
        read.append(array.shape)
        return hashed(array)

    monkeypatch.setattr(corpus, "sha256", counted)
    checked.check(tmp_path, "small")
    assert len(read) == len(corpus.ARRAYS)
    checked.check(tmp_path, "small")
    assert len(read) == 2 * len(corpus.ARRAYS)  # so young that its times could hide another change
    aged(tmp_path, monkeypatch)
    checked.check(tmp_path, "small")
    checked.check(tmp_path, "small")
    assert len(read) == 3 * len(corpus.ARRAYS)
    monkeypatch.setattr("platform.node", lambda: "another")  # which reads through its own caches
    checked.check(tmp_path, "small")
    assert len(read) == 4 * len(corpus.ARRAYS)
    labels = corpus.folder_of(tmp_path, "small") / "labels.npy"
    times = labels.stat()
    content = bytearray(labels.read_bytes())
    content[-1] ^= 1
    labels.write_bytes(content)
    os.utime(labels, ns=(times.st_atime_ns, times.st_mtime_ns))  # its time of change can be set, that of its inode not
    with pytest.raises(corpus.Damaged, match=r"labels\.npy damaged \(not what was prepared\)"):
        checked.check(tmp_path, "small")


def test_a_corpus_from_before_there_were_seals_is_sealed_once_it_was_checked(tmp_path: Path) -> None:
    sound, said = written(tmp_path), list[str]()
    path = corpus.folder_of(tmp_path, "small") / "manifest.json"
    for without in ((), ("files",)):
        old = {key: value for key, value in json.loads(path.read_text()).items() if key not in ("seal", *without)}
        path.write_text(json.dumps(old, indent=1))
        assert corpus.manifest_and_seal(tmp_path, "small")[1] is False
        assert checked.check(tmp_path, "small", said.append).manifest == sound.manifest
        assert corpus.manifest_and_seal(tmp_path, "small")[1] is True
    assert said == ["corpus small is from before manifests were sealed: all its arrays match, so it is sealed now"] * 2
    old = {key: value for key, value in json.loads(path.read_text()).items() if key != "seal"}
    path.write_text(json.dumps({**old, "mv_per_unti": 1}))
    with pytest.raises(corpus.Damaged, match=r"manifest\.json damaged \(.*mv_per_unti"):
        checked.check(tmp_path, "small")


def test_it_is_said_when_a_corpus_takes_long_to_be_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path)
    told = threading.Event()
    hashed = corpus.sha256
    monkeypatch.setattr(checked, "SILENT_SECONDS", 0.0)
    monkeypatch.setattr(corpus, "sha256", lambda array: told.wait(60) and hashed(array))
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        told.set()

    checked.check(tmp_path, "small", say)
    n_bytes = sum(values.nbytes for values in corpus.arrays_of(tmp_path, "small").values())
    assert said == [f"reading corpus small against its seals: {n_bytes / 1e9:.3g} GB"]
