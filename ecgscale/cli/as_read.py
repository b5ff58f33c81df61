"""Ten records as they are read: a table on the terminal and a picture, so that people see them before they prepare."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from ecgscale.cli.terminal import say, table, where

if TYPE_CHECKING:
    from ecgscale.data import Looked

_COLUMNS = ("record", "file", "leads", "hz", "seconds", "QRS mV", "beats/min", "labels", "unknown", "problem")


def as_read(looked: list[Looked], picture: Path) -> None:
    """Show what was read. Raises OSError if the picture cannot be written."""
    from ecgscale.analysis.figures import recordings
    from ecgscale.records import write_whole

    table(_COLUMNS, [_row(one) for one in looked])
    read = [one for one in looked if one.leads]
    if not read:
        say("none of these records can be read: nothing is drawn")
        return
    strips = [
        recordings.Strip(
            f"{one.place:,}: {', '.join(one.labels) or 'no label is 1'}", one.signal, one.sampling_hz, one.leads
        )
        for one in read
    ]
    write_whole(picture, recordings.drawn(strips))
    say(f"{len(read)} of {len(looked)} records are drawn as they are read, in millivolts: {where(picture)}")


def _row(one: Looked) -> tuple[object, ...]:
    known = (
        len(one.leads),
        f"{one.sampling_hz:g}",
        f"{one.seconds:.3g}",
        f"{one.qrs_mv:.2f}",
        _whole(one.beats_per_minute),
    )
    read = known if one.leads else ("", "", "", "", "")
    return one.place, one.kind, *read, ", ".join(one.labels), one.n_unknown or "", one.problem


def _whole(value: float) -> str:
    return f"{value:.0f}" if math.isfinite(value) else "none"
