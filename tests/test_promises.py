"""Promises under faults (docs/promises.md): each has a test that injects the fault, here or in its room."""

import ast
import os
import random
import re
import signal
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray

from ecgscale import records
from ecgscale.attempt import Place, Sparing
from ecgscale.data.corpus import Slice
from ecgscale.models import TRANSFORMERS, ViT
from ecgscale.objectives import DINO
from ecgscale.pool import launch, preflight
from ecgscale.pool.kinds import Offer
from ecgscale.pool.shares import Pool, gpu_share, slots, spared
from ecgscale.pool.slot import QueuedRun, SlotJob, serve
from ecgscale.pool.states import Interrupted
from ecgscale.pool.worker import TRIAL
from ecgscale.spec.run import Run, Schedule
from ecgscale.spec.sweep import Sweep
from ecgscale.training import checkpoint
from tests.faults import Cellular, Many
from tests.paths import HOUSE
from tests.runs import RESNET_SL, RESNET_SSL
from tests.shell import Shell

TESTS = Path(__file__).parent

# Number of the promise and what is done to it: the test's file and name.
PROMISES = {
    "1 kill -9 of a worker": "test_launch::test_a_signal_drains_and_the_same_command_goes_on",
    "1 again and again": "test_slot::test_a_run_that_kills_every_worker_is_failed_once_and_keeps_its_rows",
    "2 kill -9 of the driver": "test_launch::test_killing_the_driver_costs_nothing_that_was_measured",
    "2 of a keeper": "test_slot::test_a_worker_ends_with_its_keeper",
    "3 signals": "test_launch::test_a_signal_drains_and_the_same_command_goes_on",
    "3 codes": "test_cli::test_signals_are_a_wish_to_pause_and_have_their_codes",
    "3 a second one": "test_cli::test_a_second_signal_ends_at_once",
    "3 before anything runs": "test_promises::test_a_signal_while_ray_starts_is_heard_and_nothing_is_handed_out",
    "4 Ray dies": "test_launch::test_when_ray_dies_the_launch_ends_with_the_reason",
    "4 a node dies": "test_launch::test_a_node_is_killed_and_the_sweep_ends_complete",
    "5 host memory": "test_slot::test_want_of_host_memory_is_oom_for_that_run_alone",
    "6 device memory": "test_trial::test_want_of_memory_is_recorded_and_not_raised",
    "6 done again": "test_promises::test_after_want_of_device_memory_a_run_spares_more_and_more_of_it",
    "6 by a launch": "test_promises::test_a_launch_does_once_more_and_in_pieces_what_the_device_had_no_room_for",
    "7 diverged": "test_trial::test_a_diverged_run_says_where",
    "8 disk full": "test_slot::test_on_a_disk_that_is_really_full_nothing_is_lost",
    "8 within a run": "test_trial::test_a_full_disk_loses_nothing_that_was_measured",
    "9 half-written": "test_records::test_a_truncated_file_is_named_and_the_rest_is_read",
    "9 quarantine": "test_launch::test_two_launches_share_the_runs_and_a_damaged_file_is_done_again",
    "10 a bit of a file": "test_records::test_no_flipped_bit_goes_unnoticed",
    "10 of a journal": "test_records::test_no_flipped_bit_in_a_journal_goes_unnoticed",
    "10 of a checkpoint": "test_promises::test_no_flipped_bit_in_a_checkpoint_goes_unnoticed",
    "11 a missing part": "test_preparation::test_a_missing_part_stops_preparation_unless_told_and_is_then_counted",
    "11 a truncated part": "test_preparation::test_a_truncated_part_is_named",
    "11 a run": "test_cli::test_a_corpus_with_missing_parts_is_refused_unless_told_and_then_counted",
    "12 links of HDF5": "test_hdf5::test_what_lies_elsewhere_is_refused",
    "12 absurd headers": "test_waveform::test_what_cannot_be_is_refused_with_a_reason",
    "12 pickles": "test_preparation::test_no_array_is_unpickled",
    "12 paths": "test_preparation::test_no_path_of_a_table_leaves_the_raw_folder",
    "12 any damage": "test_damaged_tables::test_any_damage_is_an_index_or_a_sentence",
    "13 two launches": "test_launch::test_two_launches_share_the_runs_and_a_damaged_file_is_done_again",
    "13 two preparations": "test_preparation::test_a_corpus_is_prepared_by_one_process_and_after_its_death_by_another",
    "13 a stale lease": "test_leases::test_a_holder_that_stands_still_is_followed_and_a_beating_one_is_not",
    "13 a late write": "test_leases::test_a_late_write_is_refused",
    "13 nobody's": "test_leases::test_a_run_is_running_while_somebody_holds_it_and_pending_after",
    "14 clocks": "test_leases::test_shifted_clocks_change_nothing",
    "15 no such GPUs": "test_launch::test_gpus_that_are_not_there_are_refused_with_what_is",
    "15 no such cluster": "test_promises::test_an_address_where_nothing_listens_is_refused_at_once",
    "15 no room": "test_promises::test_a_launch_is_refused_when_a_node_lacks_something",
    "15 a run too large": "test_plan::test_a_run_is_infeasible_with_the_reason_until_it_fits",
    "16 typos": "test_sweep::test_all_mistakes_in_a_sweep_file_are_named_at_once",
    "16 flags": "test_cli::test_a_mistake_is_one_sentence",
    "17 before any row": "test_trial::test_a_run_that_fails_before_its_first_evaluation_has_one_final_state",
    "18 sampling rate": "test_preparation::test_a_wrong_rate_puts_the_record_aside",
    "19 flawed leads": "test_preparation::test_flaws_are_flagged_and_treated_as_asked",
    "19 nothing at all": "test_preparation::test_what_has_no_signal_at_all_is_put_aside",
    "20 lead order": "test_preparation::test_a_permuted_record_is_put_aside",
    "20 any order": "test_recording::test_any_permutation_of_the_limb_leads_is_refused",
    "20 units": "test_preparation::test_microvolts_and_volts_become_millivolts",
    "21 missing labels": "test_datasets::test_labels_are_by_name_and_masked_where_missing",
    "21 in the loss": "test_objectives::test_focal_loss_is_the_slow_one",
    "22 no positives": "test_scores::test_scores_are_means_over_classes_with_both_outcomes",
    "23 two splits": "test_preparation::test_folds_that_part_a_patient_are_refused",
    "23 on load": "test_corpus::test_a_patient_in_two_splits_is_refused_when_written_and_when_read",
    "23 fractions": "test_split::test_fractions_nest_by_patient",
    "24 determinism": "test_trial::test_a_paused_run_goes_on_bit_for_bit",
    "25 privacy": "test_preparation::test_planted_identities_are_in_no_output",
    "26 services": "test_promises::test_token_authentication_stays_on_and_the_dashboard_off",
    "26 no cluster but the one named": "test_surroundings::test_auto_is_what_ray_start_started_here_and_no_other",
    "27 malformed headers": "test_preparation::test_malformed_headers_are_read_and_impossible_ones_counted",
    "27 other files": "test_preparation::test_a_record_of_other_kind_is_counted_and_the_rest_is_prepared",
    "27 any header": "test_waveform::test_any_damage_to_a_real_header_is_read_or_refused",
    "28 arrays and manifest": "test_corpus::test_no_flipped_bit_of_a_corpus_goes_unnoticed",
    "28 a preparation": "test_preparation::test_no_flipped_bit_of_a_preparation_goes_unnoticed",
    "28 kept weights": "test_kept_weights::test_no_flipped_bit_in_an_index_goes_unnoticed",
    "28 exponents": "test_build::test_no_flipped_bit_of_the_table_goes_unnoticed",
    "28 codebook": "test_codebook::test_no_flipped_bit_in_a_codebook_goes_unnoticed",
    "29 prepared": "test_full_disk::test_a_corpus_is_prepared_page_by_page",
    "29 simulated": "test_full_disk::test_a_simulated_corpus_gives_its_room_back",
    "29 of what is kept": "test_kept_whole::test_on_a_full_disk_a_command_says_so_and_leaves_what_was_there",
    "29 models taken elsewhere": "test_export::test_on_a_full_disk_nothing_half_written_is_left",
    "29 a home": "test_codebook::test_on_a_full_disk_a_home_keeps_what_it_has",
    "30 of what is kept": "test_kept_whole::test_whenever_a_command_is_killed_its_files_are_whole",
    "31 every verb": "test_door::test_what_nobody_foresaw_is_a_sentence_and_a_log_in_every_verb",
    "31 within rooms": "test_door::test_a_fault_within_the_rooms_that_a_verb_calls_is_not_swallowed",
    "31 a lost lease": "test_door::test_a_lease_that_is_lost_while_a_run_is_done_is_a_sentence_and_a_log",
    "31 Ray does not start": "test_surroundings::test_a_ray_that_does_not_start_is_a_sentence_and_a_log",
    "32 spellings": "test_tables_of_readers::test_what_may_be_one_patient_or_two_is_refused_by_line",
    "33 both outcomes": "test_tables_of_readers::test_a_label_set_without_both_outcomes_is_refused_before_a_launch",
    "34 amplitudes": "test_amplitude::test_a_wrong_gain_in_every_header_refuses_the_dataset",
    "34 saved again": "test_matlab::test_a_dataset_saved_again_becomes_the_same_corpus",
    "35 tables": "test_tables_of_readers::test_troubles_are_read_counted_or_said",
    "35 accounts": "test_tables_of_readers::test_every_spoiled_row_of_ten_thousand_is_accounted_for_by_reason",
    "36 shapes": "test_hdf5::test_absurd_shapes_are_refused_before_anything_is_allocated",
    "36 checkpoints": "test_weights::test_a_block_that_cannot_be_is_refused_at_once",
    "36 exits": "test_sweep::test_a_mistake_in_a_sweep_file_is_one_sentence",
    "36 terminal": "test_terminal::test_no_control_code_is_printed",
    "37 dead launches": "test_leases::test_a_dead_launch_is_told_nothing_and_swept_away",
    "38 given back": "test_places::test_a_broken_gpu_costs_no_run",
    "38 the run's own": "test_places::test_the_same_fault_on_two_places_is_the_runs",
    "38 by a launch": "test_launch::test_a_broken_gpu_of_a_cluster_costs_no_run_and_is_named",
    "39 an evaluation": "test_trial::test_a_pause_in_an_evaluation_costs_that_evaluation_alone",
    "39 Slurm": "test_clusters::test_slurm_pauses_and_is_queued_again_unless_slurm_itself_ends_the_job",
}


def test_the_document_lists_the_promises_that_have_tests() -> None:
    """Rows of docs/promises.md are numbered from 1 on."""
    text = (HOUSE / "docs" / "promises.md").read_text()
    rows = [int(n) for n in re.findall(r"^\| (\d+) \|", text, flags=re.M)]
    assert rows == list(range(1, 40))
    assert set(rows) == {int(promise.partition(" ")[0]) for promise in PROMISES}


@pytest.mark.parametrize("promise", PROMISES)
def test_every_promise_has_its_test(promise: str) -> None:
    file, _, name = PROMISES[promise].partition("::")
    (path,) = TESTS.rglob(f"{file}.py")  # the name of the file alone, or with its folder where there are two
    tree = ast.parse(path.read_text())
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_no_flipped_bit_in_a_checkpoint_goes_unnoticed(tmp_path: Path) -> None:
    """Every one of 200 is found, and the checkpoint before takes its place."""
    import torch

    path, draw = tmp_path / "c.pt", random.Random(0)
    checkpoint.save(path, {"step": 1, "weights": torch.zeros(100)})
    checkpoint.save(path, {"step": 2, "weights": torch.ones(100)})
    original = path.read_bytes()
    fell_back = 0
    for _ in range(200):
        damaged = bytearray(original)
        damaged[draw.randrange(len(damaged))] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        fell_back += [state["step"] for state in checkpoint.intact(path)] == [1]
    assert fell_back == 200


def test_largest_first_and_small_runs_share_a_gpu() -> None:
    needs = {"huge": 0.9, "large": 0.45, "half": 0.4, "tiny": 0.001}  # a quarter more is kept free
    shares = {name: gpu_share(need, None, 1.0) for name, need in needs.items()}
    assert shares == {"huge": 1.0, "large": 1.0, "half": 0.5, "tiny": 0.125}
    shares |= {f"tiny {n}": 0.125 for n in range(40)}
    placed = slots(shares, n_gpus=2, n_cpus=16)
    assert [(share, n) for share, n, _ in placed] == [(1.0, 2), (0.5, 1), (0.125, 16)]
    assert placed[0][2] == ["huge", "large"]  # in the order given, which is the largest first
    assert slots({"a": 1.0, "b": 1.0, "c": 1.0}, n_gpus=0, n_cpus=2) == [(1.0, 2, ["a", "b", "c"])]
    assert gpu_share(float("inf"), None, 1.0) == 1.0


def test_runs_of_several_processes_come_first_and_take_as_many_devices() -> None:
    shares = {"four": 4.0, "two": 2.0, "two more": 2.0, "one": 1.0, "small": 0.25}
    placed = slots(shares, n_gpus=4, n_cpus=16)
    assert [(share, n) for share, n, _ in placed] == [(4.0, 1), (2.0, 2), (1.0, 1), (0.25, 1)]
    assert slots({"a": 2.0, "b": 2.0, "c": 2.0}, n_gpus=0, n_cpus=5) == [(2.0, 2, ["a", "b", "c"])]


@pytest.fixture
def without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """A launch whose pool is one CPU, and whose only slot is served here; the workers are real."""

    @contextmanager
    def pool(*_: object) -> Iterator[dict[str, float]]:
        yield {"CPU": 1.0}

    def fit(offered: Sequence[Offer], jobs: Mapping[str, SlotJob], *_: object) -> set[str]:
        return {serve(jobs[offer.name], "0") for offer in offered}

    context = SimpleNamespace(get_node_id=lambda: "here")
    monkeypatch.setattr(launch, "_joined", pool)
    monkeypatch.setattr(launch, "_fit", fit)
    monkeypatch.setattr(launch.ray, "get_runtime_context", lambda: context)
    monkeypatch.setattr(launch.ray, "nodes", lambda: [{"NodeID": "here", "Alive": True, "Resources": {"CPU": 2.0}}])


@pytest.mark.usefixtures("without_ray")
def test_a_launch_does_once_more_and_in_pieces_what_the_device_had_no_room_for(tmp_path: Path) -> None:
    sweep = Many("s", (Cellular(0), Cellular(1, "too large at once"), Cellular(2, "too large")))
    place = Place(tmp_path / "home", tmp_path)
    launch.launch(sweep, sweep.runs, place, trial="tests.faults:trial")  # type: ignore[arg-type]
    ended = records.load(tmp_path, ["s"]).runs.set_index("run_id").loc[[run.run_id for run in sweep.runs]]
    assert list(ended["status"]) == ["done", "done", "oom"]
    assert list(ended["micro_batch"]) == ["None", "2", "2"]
    assert list(ended["lease"]) == ["1", "4", "4"]  # recomputed, alone, in pieces, and no more


@pytest.mark.usefixtures("without_ray")
def test_a_launch_is_refused_when_a_node_lacks_something(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here it is room on the disk; on a second node it is our code."""
    monkeypatch.setattr(preflight, "shutil", SimpleNamespace(disk_usage=lambda _: SimpleNamespace(free=10)))
    refused = shell.type("launch", "mine")
    assert refused.returncode == 3
    assert "free in the home folder and the sweep will write about" in " ".join(refused.stderr.split())
    assert not list(shell.folder.rglob("*.open"))

    def away(*_: object, **__: object) -> None:
        raise ray.exceptions.RaySystemError("worker said\nNo module named 'ecgscale'")

    monkeypatch.setattr(launch.ray, "get", away)
    found = launch._report("far", None)
    assert found is not None
    assert "far): it could not look at what it has (RaySystemError: " in preflight.refusals([found])[0]
    assert "No module named 'ecgscale'" in preflight.refusals([found])[0]


def test_an_address_where_nothing_listens_is_refused_at_once(shell: Shell) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        refused = shell.type("launch", "mine", "--address", address)
    assert refused.returncode == 3
    assert f"refused: no Ray cluster answers at {address}: Connection refused" in " ".join(refused.stderr.split())


def test_a_signal_while_ray_starts_is_heard_and_nothing_is_handed_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray puts a handler of its own in place of ours when it starts; that one ends the process with code 15."""

    def init(**_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(number))

    monkeypatch.setattr(launch.ray, "init", init)
    monkeypatch.setattr(launch.ray, "shutdown", lambda: None)
    monkeypatch.setattr(launch.ray, "cluster_resources", lambda: {"CPU": 1.0})
    monkeypatch.setattr(launch, "_fit", None)
    sweep, place = Many("s", (Cellular(0),)), Place(tmp_path, tmp_path)
    with pytest.raises(Interrupted) as ended:
        launch.launch(sweep, sweep.runs, place, trial="tests.faults:trial")  # type: ignore[arg-type]
    assert ended.value.exit_code == 143
    assert not list(tmp_path.iterdir())


def test_after_want_of_device_memory_a_run_spares_more_and_more_of_it(tmp_path: Path) -> None:
    several, uncut = replace(RESNET_SL, seed=7), Run(ViT(1, 12, 1), DINO(), Slice("code"))
    sweep = Sweep("s", (RESNET_SL, several, RESNET_SSL, uncut), ())
    queue = [QueuedRun(run.run_id, run.description, 0) for run in sweep.runs]
    facts = [{"memory": memory} for memory in ("device", "device", "host", "device")]
    facts[1]["processes"] = "4"
    for queued, told in zip(queue, facts, strict=True):
        path = records.path_of(tmp_path, "s", queued.run_id)
        records.give_up(path, queued.description, "oom", "no memory", told)
    found: list[list[QueuedRun]] = [queue]
    for _ in range(4):
        found.append(spared(found[-1], sweep.runs, sweep, tmp_path, lambda run: run.objective.cuts_batches))
    tried = [list(dict.fromkeys(queued.sparing for queued in column)) for column in zip(*found, strict=True)]
    recomputed = Sparing(streamed=True, recompute=True)
    alone = replace(recomputed, alone=True)
    whole, cut = Schedule().batch_size, replace(alone, micro_batch=Schedule().batch_size // 4)
    assert tried[0] == [Sparing(), recomputed, alone, cut]
    assert tried[1][-1] == replace(alone, micro_batch=whole // 16)  # of each process' share
    assert tried[2] == [Sparing()]  # more device memory does not help this one
    assert tried[3] == [Sparing(), recomputed, alone]  # a whole batch is what this one needs
    assert [queued.before for queued in found[1]] == [1, 1, 0, 1]
    left = spared(found[2], sweep.runs, sweep, tmp_path, lambda run: False)
    assert [queued.sparing for queued in left] == [queued.sparing for queued in found[2]]


def test_an_evaluation_without_memory_is_tried_with_streamed_data_and_then_alone(tmp_path: Path) -> None:
    sweep = Sweep("s", (RESNET_SL,), ())
    path = records.path_of(tmp_path, "s", RESNET_SL.run_id)
    records.give_up(path, RESNET_SL.description, "oom", "full", {"memory": "device", "ran_out_in": "evaluation"})
    queue = [QueuedRun(RESNET_SL.run_id, RESNET_SL.description, 0)]
    tried: list[Sparing] = []
    for _ in range(3):
        queue = spared(queue, sweep.runs, sweep, tmp_path, lambda run: True)
        tried.append(queue[0].sparing)
    assert tried == [Sparing(streamed=True), Sparing(streamed=True, alone=True), Sparing(streamed=True, alone=True)]


def test_batch_normalised_runs_are_cut_only_if_their_sweep_says_so() -> None:
    masked = replace(RESNET_SL, architecture=TRANSFORMERS[0])
    careful, bold = (Sweep("s", (RESNET_SL, masked), (), micro_batches=may) for may in (False, True))
    said = [launch._may_be_cut(sweep, TRIAL, run) for sweep in (careful, bold) for run in sweep.runs]
    assert said == [False, True, True, True]
    assert careful.runs == bold.runs  # it is no part of a run


def test_token_authentication_stays_on_and_the_dashboard_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here says otherwise, neither to Ray nor through its environment."""
    asked: dict[str, Any] = {}
    monkeypatch.setattr(launch.ray, "init", lambda **options: asked.update(options))
    monkeypatch.setattr(launch.ray, "cluster_resources", dict)
    with launch._joined(Pool(2)):
        assert asked["include_dashboard"] is False
        assert "_system_config" not in asked
    for path in (TESTS.parent / "ecgscale").rglob("*.py"):
        assert "AUTH_MODE" not in path.read_text().upper()
    assert os.environ.get("RAY_AUTH_MODE", "token") != "disabled"


@pytest.mark.parametrize(
    ("address", "told", "joined"),
    [(None, None, "local"), (None, "head:6379", "head:6379"), ("auto", "head:6379", "head:6379")],
)
def test_a_launch_joins_no_cluster_that_nobody_named(
    address: str | None, told: str | None, joined: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}
    monkeypatch.setattr(launch.ray, "init", lambda **options: asked.update(options))
    monkeypatch.setattr(launch.ray, "cluster_resources", dict)
    monkeypatch.setattr(launch, "reach", lambda address: None)
    monkeypatch.setattr(launch, "_ask", lambda address: None)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if told:
        monkeypatch.setenv("RAY_ADDRESS", told)
    with launch._joined(Pool(2, None, address)):
        assert asked["address"] == joined
    assert ("num_cpus" in asked) is (joined == "local")


def test_a_measured_peak_decides_the_share_of_runs_of_the_same_shape(tmp_path: Path) -> None:
    from ecgscale.pool.states import measured_memory

    facts = {"device": "NVIDIA H100", "peak_memory_bytes": "5000000000"}
    for run, told in ((RESNET_SL, facts), (RESNET_SSL, {**facts, "device": "x86_64 CPU"})):
        records.write(records.path_of(tmp_path, "s", run.run_id), [], run.description, {**told, "status": "done"})
    measured = measured_memory(tmp_path)
    assert measured(replace(RESNET_SL, seed=9)) == 5e9
    assert measured(RESNET_SSL) is None  # a process on a CPU says nothing about a GPU
