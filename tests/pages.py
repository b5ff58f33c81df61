"""What pages of the documentation hold for a reader to type: commands, and files with their names."""

import re
import shlex
from pathlib import Path

from tests.paths import HOUSE

PAGES = sorted((HOUSE / "docs").glob("*.md"))
COOKBOOK = HOUSE / "docs" / "cookbook.md"


def commands(page: Path) -> list[str]:
    """The lines of its console blocks that begin with a prompt, without the remarks behind them."""
    blocks = re.findall(r"^```console\n(.*?)^```", page.read_text(), flags=re.M | re.S)
    return [
        re.sub(r"\s+# .*", "", line.removeprefix("$ "))
        for block in blocks
        for line in block.splitlines()
        if line.startswith("$ ")
    ]


def words(line: str, run_id: str) -> list[str]:
    """A command as a shell splits it, ``RUN_ID`` being one of the reader's runs."""
    return shlex.split(line.replace("RUN_ID", run_id))


def files(page: Path) -> dict[str, str]:
    """The texts of the files that it shows, by their names."""
    return dict(re.findall(r"^`(\S+)`\n\n```\w+\n(.*?)^```", page.read_text(), flags=re.M | re.S))
