"""The demo: the main job from recordings to exponents, step by step, on the recordings that ship with the package."""

from ecgscale.cli import codebook, laws, pictures, planning, sweeps
from ecgscale.cli.door import RESULTS, Home, Results, app
from ecgscale.cli.terminal import err, say, table, where
from ecgscale.phrases import si

SWEEP = "demo"


@app.command(rich_help_panel="Sweeps: run and watch")
def demo(results: Results = RESULTS, home: Home = None) -> None:
    """Plan, launch, fit, draw and report the demo sweep; safe to repeat, nothing done is done again."""
    import typer

    step("Plan: what it costs")
    planning.plan(SWEEP, results, home)
    step("Codebook: the words that masked Transformers predict")
    codebook.train(SWEEP, home=home)
    step("Launch: every run that is not done, through Ray")
    try:
        sweeps.launch(SWEEP, results, home)
    except typer.Exit as ended:
        if ended.exit_code:
            raise
    step("Fit: every law to every configuration and target")
    laws.fit([SWEEP], results)
    step("Figures and report")
    pictures.figures(results=results, sweep=[SWEEP])
    pictures.report(results, sweep=[SWEEP])
    step("Did training help? Beside untrained twins, the prevalence, and less data")
    twins(results)
    step("How do they scale here? L = E + A / N^alpha + B / D^beta, D* ~ C^b")
    answer(results)
    say("")
    say("Demo scale: 2,550 recordings and minutes of training show that the machinery works, and are no evidence.")
    say(f"figures: {where(results / 'figures')}   report: {where(results / 'report.html')}")
    say("next: ecgscale exponents --law transfer")


def answer(results: Results = RESULTS) -> None:
    """One row a configuration: exponents, floor, transfer, and what compute goes to."""
    from ecgscale.analysis.answer import HEADS, answers
    from ecgscale.analysis.table.query import read

    fitted = read(results)
    table(list(HEADS), [a.cells for a in answers(fitted[fitted["sweep"] == SWEEP])])


def twins(results: Results = RESULTS) -> None:
    """Trained, untrained and prevalence side by side, in words where training did not help; less data beside more."""
    from ecgscale.analysis.learning import learning, more_data, shortfalls
    from ecgscale.analysis.naming import label
    from ecgscale.analysis.observations import observations

    observed = observations(results, [SWEEP])
    compared = learning(observed)
    columns = ["configuration", "target", "loss", "untrained", "prevalence", "AUROC", "untrained AUROC"]
    numbers = ("loss", "loss_untrained", "prevalence_loss", "auroc", "auroc_untrained")
    table(
        columns,
        [
            (label(row["configuration"]), row["target"])
            + tuple("" if row[n] != row[n] else f"{row[n]:.3f}" for n in numbers)
            for row in compared.to_dict("records")
        ],
    )
    for sentence in shortfalls(compared):
        say(sentence)
    table(
        ["configuration", "N", "D least", "D most", "ID loss at least", "ID loss at most", "lower"],
        [
            (label(row["configuration"]), si(row["N"]), si(row["D_least"]), si(row["D_most"]))
            + (f"{row['loss_least']:.4f}", f"{row['loss_most']:.4f}", row["lower"])
            for row in more_data(observed).to_dict("records")
        ],
    )


def step(title: str) -> None:
    err().print(f"\n{title}", style="bold", markup=False)
