"""Verbs of the datasets: what is known of them, preparing them, checking them."""

import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from ecgscale.cli.as_read import as_read
from ecgscale.cli.door import FAILED, PLAIN, Home, Json, Refused, app, home_of, print_json
from ecgscale.cli.terminal import say, table

data_app = typer.Typer(help="Datasets: what is known, prepared, licensed.", no_args_is_help=True, **PLAIN)
app.add_typer(data_app, name="data", rich_help_panel="Before: price and prepare")

Dataset = Annotated[
    str,
    typer.Argument(metavar="NAME", help="A dataset of `ecgscale data list`, or yours by the name that you give it."),
]
Raw = Annotated[Path | None, typer.Option(help="The dataset as its provider ships it.", show_default=False)]


# What fits on a terminal; a pipe gets every column.
_NARROW = ["name", "n_records", "n_patients", "hz", "access", "licence", "prepared", "n_prepared", "n_upsampled"]


_OWN = "Recordings of your own (--reader table)"
_SILENT_SECONDS = 60  # at most, while a corpus is prepared


@data_app.command("list")
def list_(home: Home = None, as_json: Json = False) -> None:
    """Every dataset of the study: size, access, licence, where to ask for it, and what is prepared here."""
    from ecgscale import data

    listed = data.listing(home_of(home))
    if as_json:
        print(listed.to_json(orient="records", indent=1))
        return
    drawn = sys.stdout.isatty()
    shown = listed[_NARROW] if drawn else listed
    table(list(shown.columns), [tuple(row) for row in shown.astype(object).fillna("").itertuples(index=False)])
    for row in listed[listed["prepared"] == ""].to_dict("records") if drawn else ():
        size = f" ({row['size']})" if row["size"] else ""
        say(f"{row['name']}: {row['download']}{size}")


@data_app.command()
def prepare(
    name: Dataset,
    raw: Annotated[Path, typer.Option(help="The dataset as its provider ships it.")],
    home: Home = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; all cores if left out.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Price it on a sample; keep nothing.")] = False,
    n_records: Annotated[int | None, typer.Option(min=1, help="With --dry-run: price so many recordings.")] = None,
    detector: Annotated[str | None, typer.Option(help="R-peak detector, instead of the default.")] = None,
    sampling_hz: Annotated[int | None, typer.Option(min=1, help="Rate to store at, instead of 100 Hz.")] = None,
    recipe: Annotated[
        str | None, typer.Option(help="Filters of a model, instead of the dataset's: ecgfounder.")
    ] = None,
    flawed_leads: Annotated[
        str | None,
        typer.Option(help="Flat, saturated or missing leads: keep (default), zero the lead, drop the record."),
    ] = None,
    allow_missing: Annotated[bool, typer.Option("--allow-missing", help="Go on although files are missing.")] = False,
    reader: Annotated[str, typer.Option(help="Of recordings of your own: table, or your reader's Python file.")] = "",
    labels: Annotated[str, typer.Option(help="The table of labels (CSV or Parquet).", rich_help_panel=_OWN)] = "",
    units: Annotated[str, typer.Option(help="mV, uV, V, '4.88 uV' or '200/mV'.", rich_help_panel=_OWN)] = "",
    hz: Annotated[
        float, typer.Option(help="Sampling rate of the files.", show_default=False, rich_help_panel=_OWN)
    ] = 0.0,
    leads: Annotated[
        str, typer.Option(help="In the files' order, I,II,III, or by their names, CH1=I.", rich_help_panel=_OWN)
    ] = "",
    signals: Annotated[
        str, typer.Option(help="One file of all signals (FILE or FILE:ARRAY), or a folder.", rich_help_panel=_OWN)
    ] = "",
    record: Annotated[str, typer.Option(help="Column of the files or rows, or: order.", rich_help_panel=_OWN)] = "",
    patient: Annotated[str, typer.Option(help="Column of the patients, or: none.", rich_help_panel=_OWN)] = "",
    split: Annotated[str, typer.Option(help="Column of train, val, test.", rich_help_panel=_OWN)] = "",
    label_columns: Annotated[
        str, typer.Option(help="Columns of labels (0, 1, blank), with commas.", rich_help_panel=_OWN)
    ] = "",
    classes: Annotated[str, typer.Option(help="Columns of words that are labels each.", rich_help_panel=_OWN)] = "",
    numbers: Annotated[
        str, typer.Option(help="Columns of numbers, at will with units: age=years,k=mmol/L.", rich_help_panel=_OWN)
    ] = "",
    leave_out: Annotated[str, typer.Option(help="Columns that are no labels.", rich_help_panel=_OWN)] = "",
    einthoven: Annotated[bool, typer.Option(help="Check limb leads by Einthoven's law.", rich_help_panel=_OWN)] = True,
    picture: Annotated[
        Path | None, typer.Option(help="With --dry-run: where to draw ten records.", rich_help_panel=_OWN)
    ] = None,
) -> None:
    """Turn a raw dataset into a corpus: checked, filtered, resampled, with R peaks and splits. Resumable.

    Train, val and test are the same everywhere. Which patients are in a fraction of train (Slice fraction=0.1) depends
    on patients.salt, a secret of the home folder that only its owner may read: copy it into another home before
    preparing there (cp -p), and the fractions are the same.
    """
    from ecgscale import data

    chosen = {"detector": detector, "sampling_hz": sampling_hz, "recipe": recipe, "flawed_leads": flawed_leads}
    options: dict[str, Any] = {option: value for option, value in chosen.items() if value is not None}
    told = data.Said(
        *(labels, units, hz, leads, signals, record, patient, split, label_columns, classes, numbers, leave_out),
        einthoven=einthoven,
    )
    options |= {"reader": reader, "said": told}
    if dry_run:
        if reader:
            looked = data.look(name, raw, reader, told)
            if reader == "table":
                table(("column", "taken for"), [*data.taken_for(raw, told).items()])
            as_read(looked, picture or Path(f"{name}-as-read.png"))
        p = data.price(name, raw, home_of(home), workers=workers, n_records=n_records, **options)
        say(
            f"{p.n_records:,} recordings at {p.records_per_second:.0f} a second with {p.n_processes} "
            f"processes (timed on {p.n_timed}, reading and writing)"
        )
        say(f"{_duration(p.seconds)}, {p.disk_bytes / 1e9:.3g} GB of disk ({p.free_bytes / 1e9:.3g} GB free)")
        for part in p.missing:
            say(f"missing in the raw folder: {part}")
        for reason, n in p.refused.items():
            say(f"refused: {n} x {reason}")
        for note, n in p.notes.items():
            say(f"noted: {n} x {note}")
        return
    shown, said = -1, 0.0

    def progress(now: data.Progress) -> None:
        nonlocal shown, said
        if shown < 0:
            say(f"{now.n_records:,} recordings, {now.disk_bytes / 1e9:.3g} GB of disk when finished")
        tenth = 10 * now.n_done // max(1, now.n_records)
        if tenth != shown or time.monotonic() - said > _SILENT_SECONDS:
            shown, said = tenth, time.monotonic()
            rate, left = now.records_per_second, now.seconds_left
            say(f"  {now.n_done:,}/{now.n_records:,} recordings, {rate:.0f} a second, {_duration(left)} left")

    try:
        corpus = data.prepare(
            name, raw, home_of(home), workers=workers, allow_missing=allow_missing, progress=progress, **options
        )
    except data.Busy as error:
        raise Refused(str(error)) from None
    counts = {part: len(corpus.rows(part)) for part in ("train", "val", "test")}
    say(f"{corpus.name}: " + ", ".join(f"{n} {part}" for part, n in counts.items()))
    if corpus.manifest.accounts:
        (total, n_total), *parts = corpus.manifest.accounts.items()
        say(f"  {n_total:,} {total} = " + " + ".join(f"{n:,} {what}" for what, n in parts))
    for empty in (part for part, n in counts.items() if not n):
        say(f"  no recording is in {empty}: what needs it will be refused")
    for reason, n in corpus.manifest.refused.items():
        say(f"  refused: {n} x {reason}")
    for flaw, n in corpus.manifest.flaws.items():
        if n:
            say(f"  flagged: {n} x {flaw}")
    say("  " + "; ".join(f"{what}: {value:g}" for what, value in corpus.manifest.amplitude.items()))
    for line in data.rates_in_words(corpus.manifest):
        say(f"  {line}")
    for note, n in corpus.manifest.notes.items():
        say(f"  noted: {n} x {note}")
    for part in corpus.manifest.missing:
        say(f"  missing: {part}")
    say(f"next: ecgscale data card {corpus.name}")


@data_app.command()
def verify(
    name: Dataset,
    raw: Raw = None,
    reader: Annotated[str, typer.Option(help="The Python file that read it, if it is not here or in --raw.")] = "",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Check a prepared corpus, and the raw folder if given, against what they should hold."""
    from ecgscale import data

    checks = data.verify(name, home_of(home), raw, reader)
    if as_json:
        print(checks.to_json(orient="records", indent=1))
    else:
        table(list(checks.columns), [tuple(row) for row in checks.itertuples(index=False)])
    raise typer.Exit(0 if checks["ok"].all() else FAILED)


@data_app.command()
def card(name: Dataset, home: Home = None) -> None:
    """The dataset's card as Croissant JSON-LD; holds no patient or record id."""
    from ecgscale import data

    print_json(data.card(name, home_of(home)))


def _duration(seconds: float) -> str:
    """Seconds as people say them: "40 s", "7 min", "2.5 hours"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
