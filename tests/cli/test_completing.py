"""What a shell is told when somebody presses the tab key, and how it learns to ask."""

import re
import subprocess
import sys

import pytest

from tests.planted import planted_points, write_runs
from tests.shell import Shell


def completed(shell: Shell, typed: str) -> list[str]:
    """What bash is told after these words, the last of which is incomplete."""
    words = f"ecgscale {typed}"
    n_before = len(words.split()) - (not typed.endswith(" "))
    asked = {"_ECGSCALE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(n_before)}
    shell.environment |= asked
    ended = shell.type()
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.split()


@pytest.mark.parametrize(
    ("typed", "among"),
    [
        ("pla", {"plan"}),
        ("plan mi", {"mine"}),
        ("launch code_", {"code_grid"}),
        ("figures sca", {"scaling"}),
        ("fit --points x.csv --law kap", {"kaplan"}),
        ("fit mi", {"mine"}),
        ("plan mine --on", {"--only"}),
    ],
)
def test_verbs_and_names_are_completed(shell: Shell, typed: str, among: set[str]) -> None:
    (shell.folder / "results" / "runs" / "mine").mkdir(parents=True)
    assert set(completed(shell, typed)) == among


def test_runs_are_completed_where_they_have_results(shell: Shell) -> None:
    write_runs(shell.folder / "results", planted_points(("resnet-sl",)).assign(sweep="mine"))
    ids = {path.stem for path in (shell.folder / "results" / "runs" / "mine").glob("*.parquet")}
    assert set(completed(shell, "logs mine ")) == ids
    some = min(ids)
    assert completed(shell, f"logs mine {some[:9]}") == [some]


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_a_shell_is_shown_how_to_ask(shell: Shell, name: str) -> None:
    shell.environment["_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION"] = "1"
    shown = shell.type("--show-completion", name)
    assert shown.returncode == 0, shown.stderr
    assert "_ECGSCALE_COMPLETE=complete_" in shown.stdout


def test_help_groups_the_verbs_and_draws_nothing(shell: Shell) -> None:
    """To import what draws takes longer than all that help needs."""
    code = (
        "import sys, ecgscale.cli\n"
        "sys.argv = ['ecgscale', '--help']\n"
        "try: ecgscale.cli.main()\n"
        "finally: print({'rich', 'numpy', 'torch'} & {*sys.modules})"
    )
    ended = subprocess.run([sys.executable, "-c", code], env=shell.environment, capture_output=True, text=True)
    assert ended.stdout.endswith("set()\n")
    headings = [line for line in ended.stdout.splitlines() if re.match(r"[A-Z].*: .*:$", line)]
    assert headings[0] == "Before: price and prepare:"
    assert len(headings) == 5
    assert re.search(r"^  plan +Price a sweep before it is paid: ", ended.stdout, flags=re.M)
