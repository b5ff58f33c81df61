"""Where the things of a run live in home: what is kept to go on with, and what is said meanwhile."""

import time
from pathlib import Path


def checkpoint_path(home: Path, sweep: str, run_id: str) -> Path:
    """The checkpoint of an unfinished run."""
    return home / "checkpoints" / sweep / f"{run_id}.pt"


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
