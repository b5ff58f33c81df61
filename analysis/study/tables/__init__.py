"""Tables S.1-S.11 of the study: ours from results where they can be filled, else as printed, with the source."""

from collections.abc import Callable, Iterable
from pathlib import Path

from ecgscale.analysis.study.tables import measured, printed, tuned
from ecgscale.analysis.study.tables.material import Material
from ecgscale.analysis.study.tables.sheet import FORMATS, Sheet
from ecgscale.records import write_whole

Maker = Callable[[Material], Sheet]

TABLES: dict[str, tuple[Maker, Callable[[], Sheet]]] = {
    "s1": (measured.tasks, printed.datasets),
    "s2": (measured.splits, printed.splits),
    "s3": (measured.domains, printed.domains),
    "s4": (measured.configurations, printed.configurations),
    "s5": (measured.losses_by_size, printed.losses_by_size),
    "s6": (measured.losses_by_data, printed.losses_by_data),
    "s7": (measured.transfer, printed.transfer),
    "s8": (tuned.fine_tuning, printed.fine_tuning),
    "s9": (tuned.tasks, printed.benchmark),
    "s10": (tuned.ptbxl, printed.ptbxl),
    "s11": (measured.replaced, printed.replaced),
}

__all__ = ["FORMATS", "TABLES", "Material", "NoSuchTable", "Sheet", "make", "save"]


class NoSuchTable(ValueError):
    """A table or format that is not there: which, and the nearest that is."""


def make(name: str, material: Material | None = None) -> Sheet:
    """One table: of these results, or as printed if there is no material or it does not suffice (the sheet says so).

    Names are ``s1`` to ``s11``, also written S.1. Raises NoSuchTable.
    """
    key = name.lower().replace(".", "").replace("table", "").strip(" -_")
    if key not in TABLES:
        raise NoSuchTable(f"no table '{name}'; there are s1 to s{len(TABLES)}")
    own, published = TABLES[key]
    return published() if material is None else own(material)


def save(sheet: Sheet, folder: Path, formats: Iterable[str] = ("md", "latex", "csv")) -> list[Path]:
    """Write ``folder/table_<name>.<md|tex|csv>``; the same table gives the same bytes. Raises NoSuchTable."""
    paths = []
    for wanted in formats:
        if wanted not in FORMATS:
            raise NoSuchTable(f"tables cannot be written as '{wanted}'; there are {', '.join(FORMATS)}")
        if wanted == "csv" and sheet.data.empty:
            continue
        path = folder / f"table_{sheet.name}.{FORMATS[wanted]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, sheet.render(wanted).encode())
        paths.append(path)
    return paths
