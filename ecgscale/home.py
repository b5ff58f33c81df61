"""Where the things of a run live in home: what is kept to go on with, and what is said meanwhile."""

import time
from pathlib import Path


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
