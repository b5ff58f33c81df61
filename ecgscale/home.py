"""Which folder is home, and where in it the things of a run live: what is kept to go on with, and what is said."""

import os
import time
from pathlib import Path

_asked: Path | None = None  # by whoever started this process


def choose(home: Path | None) -> Path | None:
    """From now on this is the home that is meant where none is named."""
    global _asked
    _asked = home
    return home


def chosen() -> Path:
    """The folder of corpora and checkpoints: the one asked for, else $ECGSCALE_HOME, else a per-user data folder."""
    data_home = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    home = _asked or Path(os.environ.get("ECGSCALE_HOME") or Path(data_home) / "ecgscale")
    return home.expanduser().resolve()


def checkpoint_path(home: Path, sweep: str, run_id: str) -> Path:
    """The checkpoint of an unfinished run."""
    return home / "checkpoints" / sweep / f"{run_id}.pt"


def parts_path(home: Path, sweep: str, run_id: str) -> Path:
    """The folder of checkpoints in parts, of an unfinished run that several processes do."""
    return home / "checkpoints" / sweep / f"{run_id}.sharded"


def checkpoint_files(home: Path, sweep: str, run_id: str) -> tuple[Path, Path]:
    """The files that say where an unfinished run stands: its checkpoint, and the index of those in parts."""
    return checkpoint_path(home, sweep, run_id), parts_path(home, sweep, run_id) / "latest"


def log_path(home: Path, sweep: str, run_id: str) -> Path:
    """The log of a run: plain lines."""
    return home / "logs" / sweep / f"{run_id}.log"


def note(home: Path, sweep: str, run_id: str, line: str) -> None:
    """Add a line to a run's log; a log that cannot be written stops nothing."""
    path = log_path(home, sweep, run_id)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {line}\n")
    except OSError:
        pass
