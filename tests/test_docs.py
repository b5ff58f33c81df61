"""Documentation that is true: every page is linked, and the commands on it do what they say."""

import re
import shutil
from pathlib import Path

import pytest

from tests.pages import COOKBOOK, PAGES, commands, words
from tests.paths import FIXTURES, HOUSE
from tests.shell import SWEEP, Shell

TYPED_ELSEWHERE = ("git clone", "make demo", "ecgscale codebook train")  # held by other tests


def test_every_page_is_linked_from_the_first() -> None:
    index = (HOUSE / "docs" / "README.md").read_text()
    assert all(f"({page.name})" in index for page in PAGES if page.name != "README.md")
    assert "(docs/README.md)" in (HOUSE / "README.md").read_text()


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        links = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text())
        assert all((page.parent / link).exists() for link in links), page.name


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
@pytest.mark.parametrize(
    "page", [page for page in PAGES if commands(page) and page != COOKBOOK], ids=lambda page: page.stem
)
def test_commands_do_what_a_page_says(page: Path, shell: Shell) -> None:
    """In one folder, in their order; ``demo`` is a small sweep of the reader's own, ``RUN_ID`` one of its runs."""
    own = SWEEP.replace('"mine"', '"demo"').replace("tasks=(", 'keep="best", tasks=(')
    (shell.folder / "sweeps" / "demo.py").write_text(own)
    shutil.copy(FIXTURES / "laws" / "chinchilla_epoch.csv", shell.folder / "runs.csv")
    run_id = shell.type("plan", "demo", "--json").stdout.partition('"run_id": "')[2].partition('"')[0]
    for line in commands(page):
        if line.startswith(TYPED_ELSEWHERE):
            continue
        name, *arguments = words(line, run_id)
        assert name == "ecgscale", line
        ended = shell.run(*arguments) if arguments[0] == "launch" else shell.type(*arguments)
        assert ended.returncode == 0, f"{line}\n{ended.stderr}"
