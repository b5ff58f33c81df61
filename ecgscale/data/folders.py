"""Where a dataset's files lie in its raw folder: some levels down, behind links, in another case, or still packed.

What leads out of the raw folder by its text ("..", an absolute path) is refused; links are how people lay out data
(git-annex, datalad, shared clusters), so they are followed.
"""

import os
import re
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

_DEEPEST = (
    6  # folders below the raw one in which a table is looked for: wget -r leaves physionet.org/files/NAME/VERSION
)
_MOST_FOLDERS = 5000  # that are looked into for it
_USUAL = re.compile(r"\w[\w-]*(?:/\w[\w-]*)*(?:\.\w+)?")  # what is seen to be plain at once
_UNUSUAL = re.compile(r"[\\:]|//|\./|^[/~]|[/.]$|^\s|\s$")  # what a plain relative path has not
_PACKED = (".zip", ".tar", ".tar.gz", ".tgz", ".7z", ".rar")


def inside(raw: Path, relative: str) -> Path:
    """A path of a table inside the raw folder. Raises PermissionError for one whose text leaves it."""
    return raw / plain(relative)


def plain(text: str) -> str:
    """A relative path as it is written here: no backslashes, no "./". Raises PermissionError for one that leaves.

    >>> plain(r".\\\\records500\\\\00000\\\\00001_hr")
    'records500/00000/00001_hr'
    """
    if _USUAL.fullmatch(text) or not _UNUSUAL.search(text):
        return text
    path = text.strip().replace("\\", "/")
    if path.startswith(("/", "~")) or re.match(r"[A-Za-z]:", path):
        raise PermissionError("a path of a table is absolute, so it leaves the raw folder; make it relative to that")
    parts: list[str] = []
    for part in path.split("/"):
        if part == ".." and not parts:
            raise PermissionError("a path of a table leaves the raw folder (..); the table is damaged or hostile")
        if part == "..":
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def found(raw: Path, relative: str) -> str:
    """``relative`` as the file is called on disk, where only the case of its letters may differ; "" if it is absent."""
    if os.path.isfile(f"{raw}/{relative}"):
        return relative
    at = ""
    for part in relative.split("/"):
        name = _names(f"{raw}/{at}").get(part.casefold(), "")
        if not name:
            return ""
        at = f"{at}/{name}" if at else name
    return at if os.path.isfile(f"{raw}/{at}") else ""


def _names(folder: str) -> dict[str, str]:
    try:
        return _names_then(folder, os.stat(folder).st_mtime_ns)
    except OSError:
        return {}


@lru_cache(maxsize=256)
def _names_then(folder: str, _changed: int) -> dict[str, str]:
    """Names in a folder by their lower case; none for two that differ in case alone."""
    names: dict[str, str] = {}
    for name in os.listdir(folder):
        names[name.casefold()] = "" if name.casefold() in names else name
    return names


def walked(raw: Path, *suffixes: str) -> Iterator[str]:
    """Relative paths, sorted by folder, of the files below ``raw`` with one of the suffixes (any case).

    Links are followed, but no folder is gone through twice; hidden folders are left out.
    """
    seen: set[str] = set()
    for folder, folders, files in os.walk(raw, followlinks=True):
        real = os.path.realpath(folder)
        folders[:] = [] if real in seen else sorted(name for name in folders if not name.startswith("."))
        if real in seen:
            continue
        seen.add(real)
        at = os.path.relpath(folder, raw)
        for name in sorted(files):
            if name.casefold().endswith(suffixes) and not name.startswith("."):
                yield name if at == "." else f"{at}/{name}"


@dataclass(frozen=True)
class Place:
    """Where a table lies: its file, the folder that its paths begin at, and what is to be said of that."""

    raw: Path
    file: Path
    member: str = ""  # of a zip
    said: str = ""

    @property
    def base(self) -> str:
        """The file's folder, relative to the raw one: "" or "physionet.org/files/ptb-xl/1.0.3/"."""
        at = os.path.relpath(self.file.parent, self.raw)
        return "" if at == "." else f"{at}/"

    @property
    def name(self) -> str:
        """The file as sentences call it: relative to the raw folder."""
        return self.base + self.file.name


def located(raw: Path, *names: str, hint: str = "") -> Place:
    """The first of ``names`` that is in the raw folder, or, if none is, in one folder below it.

    A name may have a folder ("Metadata/demographics_ECG.csv"), any case, and be packed alone (.gz, .zip).
    Raises FileNotFoundError, with what to do, if none is there, and ValueError if several that differ are.
    """
    for name in names:
        place = _table(raw, raw, name)
        if place:
            return place
    for name in names:
        places = [place for folder in _folders(raw) if (place := _table(raw, folder, name))]
        if places:
            return _one_of(places, name)
    raise FileNotFoundError(_absent(raw, names, hint))


def nearest(raw: Path, place: Place, name: str) -> Path:
    """The folder that holds folder ``name``: that of a table, one above, or the first below the raw one; else raw."""
    own = [place.file.parent, *(above for above in place.file.parent.parents if above.is_relative_to(raw))]
    for folder in own:
        if (folder / name).is_dir() and folder.joinpath(name) not in place.file.parents:
            return folder
    return next((folder for folder in _folders(raw) if (folder / name).is_dir()), raw)


def _one_of(places: Sequence[Place], name: str) -> Place:
    first, *others = places
    if not others:
        return Place(first.raw, first.file, first.member, f"{name} was found below the raw folder, in {first.base}")
    if any(place.file.read_bytes() != first.file.read_bytes() for place in others):
        raise ValueError(
            f"{name} lies in {len(places)} folders and differs: {', '.join(place.base for place in places[:4])}; "
            "say --raw with the one that is meant"
        )
    return Place(first.raw, first.file, first.member, f"{name} lies in {len(places)} folders; {first.base} is used")


def _table(raw: Path, folder: Path, name: str) -> Place | None:
    stem = name.rpartition(".")[0] or name
    for candidate in (name, f"{name}.gz", f"{name}.zip", f"{stem}.zip"):
        there = found(folder, candidate)
        if not there:
            continue
        if not there.casefold().endswith(".zip"):
            return Place(raw, folder / there)
        member = _member(folder / there, Path(name).name)
        if member:
            return Place(raw, folder / there, member)
    return None


def _member(file: Path, name: str) -> str:
    """The table in a zip that holds nothing else; "" if there is none or more."""
    try:
        with zipfile.ZipFile(file) as packed:
            inside_it = [one.filename for one in packed.infolist() if not one.is_dir()]
    except (OSError, zipfile.BadZipFile):
        return ""
    own = [one for one in inside_it if not one.startswith("__MACOSX/")]
    return own[0] if len(own) == 1 and Path(own[0]).name.casefold() == name.casefold() else ""


def _folders(raw: Path) -> Iterator[Path]:
    """Folders below ``raw``, the nearest first."""
    level, n_seen = [raw], 0
    for _ in range(_DEEPEST):
        below: list[Path] = []
        for folder in level:
            try:
                entries = sorted(entry.path for entry in os.scandir(folder) if entry.is_dir())
            except OSError:
                continue
            below += [Path(path) for path in entries if not Path(path).name.startswith(".")]
            if n_seen + len(below) > _MOST_FOLDERS:
                break
        yield from below
        n_seen += len(below)
        level = below


def _absent(raw: Path, names: Sequence[str], hint: str) -> str:
    said = f"{names[0]}{hint and ', '}{hint} is not in the raw folder"
    for above, where in (
        (raw.resolve().parent, "one folder above"),
        (raw.resolve().parent.parent, "two folders above"),
    ):
        if any(_table(above, above, name) for name in names):
            return f"{said} but {where} it: say --raw with that one"
    packed = archives(raw)
    return f"{said}; {packed}" if packed else said


def archives(raw: Path, stem: str = "") -> str:
    """What to say of archives in the raw folder whose names begin with ``stem``; or ""."""
    packed = sorted(path.name for path in raw.iterdir() if path.name.casefold().endswith(_PACKED) and path.is_file())
    packed = [name for name in packed if name.casefold().startswith(stem.casefold())]
    if not packed:
        return ""
    named = ", ".join(packed[:3]) + (f" and {len(packed) - 3} more" if len(packed) > 3 else "")
    one = len(packed) == 1
    return f"{named} {'is' if one else 'are'} still packed there: unpack {'it' if one else 'them'}"


def unique_records(raw: Path, headers: Sequence[str]) -> tuple[list[str], dict[str, int]]:
    """Headers of different records, the first of copies; and what was left out: copies, and others of the same name."""
    by_stem: dict[str, list[str]] = {}
    for name in headers:
        by_stem.setdefault(Path(name).stem, []).append(name)
    used: list[str] = []
    refused: Counter[str] = Counter()
    for names in by_stem.values():
        if len(names) == 1 or len({(raw / name).read_bytes().strip() for name in names}) == 1:
            used.append(names[0])
            refused["copy of a record in another folder"] += len(names) - 1
        else:
            refused["record of the same name as another that differs"] += len(names)
    return sorted(used), {reason: count for reason, count in refused.items() if count}


def absent(raw: Path, prefix: str = "") -> list[str]:
    """Records that PhysioNet's lists (files called RECORDS) promise and that are not there, counted by list.

    ``prefix``: of the names of the records that are looked for, where several datasets lie in one folder.
    """
    said = []
    for listed in (path for path in walked(raw, "records") if path.rpartition("/")[2] == "RECORDS"):
        lines = [line.strip() for line in (raw / listed).read_text(errors="replace").splitlines()]
        names = [line for line in lines if line and not line.endswith("/") and Path(line).name.startswith(prefix)]
        folder = listed.rpartition("/")[0]
        n_absent = sum(not found(raw, plain(f"{folder}/{name}.hea" if folder else f"{name}.hea")) for name in names)
        if n_absent:
            said.append(f"{n_absent:,} of {len(names):,} records of {listed}")
    return said


def dangling(raw: Path, names: Sequence[str]) -> str:
    """What to say where absent files are links to nothing, as git-annex leaves them before "get"; or ""."""
    n_links = sum(os.path.islink(f"{raw}/{name}") for name in names)
    return f" ({n_links:,} are links to files that are not there: fetch them, as with datalad get)" if n_links else ""
