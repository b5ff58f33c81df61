"""Rows of measured numbers: the one wall between training and analysis.

This room stands alone (pyarrow and pandas only), so that reading results never loads torch.
"""

from ecgscale.records.compacted import compact
from ecgscale.records.files import (
    FULL,
    BadResults,
    RunFile,
    as_rows,
    is_left,
    own_mark,
    path_of,
    sealed,
    sweep_partials,
    unguarded,
    write,
    write_together,
    write_whole,
)
from ecgscale.records.journal import Journal, facts, give_up, newest_token, pieces_of, read, running, state_of
from ecgscale.records.load import Results, load
from ecgscale.records.schema import COLUMNS, SCHEMA, STATES, canonical, data_dictionary, run_id_of
from ecgscale.records.seals import Damaged, document, intact, read_document

__all__ = [
    "COLUMNS",
    "FULL",
    "SCHEMA",
    "STATES",
    "BadResults",
    "Damaged",
    "Journal",
    "Results",
    "RunFile",
    "as_rows",
    "canonical",
    "compact",
    "data_dictionary",
    "document",
    "facts",
    "give_up",
    "intact",
    "is_left",
    "load",
    "newest_token",
    "own_mark",
    "path_of",
    "pieces_of",
    "read",
    "read_document",
    "run_id_of",
    "running",
    "sealed",
    "state_of",
    "sweep_partials",
    "unguarded",
    "write",
    "write_together",
    "write_whole",
]
