"""Leases: each run has one holder, a dead one is followed, and what it still writes is refused. No clock is asked."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ecgscale import leases, records
from ecgscale.leases import Claims, Heartbeat, Lease, Lost
from ecgscale.pool.states import states
from ecgscale.spec.sweep import Sweep
from tests.runs import RESNET_SL

DESCRIPTION = '{"seed":7}'
RUN = records.run_id_of(DESCRIPTION)


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two holders cannot see each other's processes, as on two machines; a look takes no time."""
    monkeypatch.setattr(leases, "LOOK_SECONDS", 0.0)
    places = iter(range(10**6))
    monkeypatch.setattr(leases, "_place", lambda: f"machine {next(places)}")
    monkeypatch.setattr(leases, "_machine", lambda: "")


def followed(claims: Claims, at_least: int = 0, files: tuple[Path, ...] = ()) -> Lease:
    """Look at a lease that stands still until it may be taken over; not before it was looked at often enough."""
    for look in range(leases.LOOKS + 1):
        lease = claims.claim(RUN, at_least, files)
        if lease is not None:
            assert look >= leases.LOOKS - 1
            return lease
    raise AssertionError("a lease that stands still was not taken over")


def test_of_many_claims_at_once_one_is_granted(tmp_path: Path) -> None:
    ready, won = threading.Barrier(16), []

    def claim(number: int) -> None:
        claims = Claims(tmp_path, f"launch {number}")
        ready.wait()
        won.append(claims.claim(RUN))

    threads = [threading.Thread(target=claim, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([lease for lease in won if lease is not None]) == 1


def test_a_released_run_can_be_claimed_again_with_a_larger_token(tmp_path: Path) -> None:
    first = Claims(tmp_path, "a").claim(RUN)
    assert first is not None
    first.release()
    second = Claims(tmp_path, "b").claim(RUN, at_least=first.token)
    assert second is not None
    assert second.token > first.token
    with pytest.raises(Lost):
        first.check()
    second.check()


@pytest.mark.usefixtures("elsewhere")
def test_a_holder_that_stands_still_is_followed_and_a_beating_one_is_not(tmp_path: Path) -> None:
    lease, other = Claims(tmp_path, "a").claim(RUN), Claims(tmp_path, "b")
    assert lease is not None
    for count in range(3 * leases.LOOKS):
        lease.beat(count)
        assert other.claim(RUN) is None
    taken = followed(other)
    assert taken.token == lease.token + 1
    for late in (lease.check, lambda: lease.beat(99)):
        with pytest.raises(Lost):
            late()


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("hours", [-1000, 1000])
def test_shifted_clocks_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hours: int) -> None:
    """Neither a file's time nor the wall clock says who is alive: only whether the counter moves."""
    import time

    now = time.time() + 3600 * hours
    monkeypatch.setattr(time, "time", lambda: now)
    lease, other = Claims(tmp_path, "a").claim(RUN), Claims(tmp_path, "b")
    assert lease is not None
    for count in range(2 * leases.LOOKS):
        lease.beat(count)
        os.utime(lease.file, (now, now))
        assert other.claim(RUN) is None
    for _ in range(leases.LOOKS):
        os.utime(lease.file)  # its time moves, its counter does not
        other.held(RUN)
    assert other.claim(RUN) is not None


def test_a_holder_that_died_on_this_machine_is_followed_at_once(tmp_path: Path) -> None:
    child = os.fork()
    if not child:
        Claims(tmp_path, "a").claim(RUN)
        os._exit(0)
    os.waitpid(child, 0)
    lease = Claims(tmp_path, "b").claim(RUN)
    assert lease is not None
    assert lease.token == 2


def test_a_run_is_running_while_somebody_holds_it_and_pending_after(tmp_path: Path) -> None:
    """What a stopped launch, or a killed one, has begun is there to be claimed, and said to be."""
    sweep = Sweep("s", (RESNET_SL,), ())
    run_id, folder = RESNET_SL.run_id, leases.folder_of(tmp_path, "s")
    records.Journal(records.path_of(tmp_path, "s", run_id), RESNET_SL.description).begin([], {})

    def state() -> str:
        return str(states(sweep, tmp_path)["state"][0])

    assert state() == "pending"
    lease = Claims(folder, "a").claim(run_id)
    assert lease is not None
    assert state() == "running"
    lease.release()
    child = os.fork()
    if not child:
        Claims(folder, "b").claim(run_id)
        os._exit(0)
    os.waitpid(child, 0)
    assert list(folder.glob("*.lease"))
    assert state() == "pending"


def test_a_slot_goes_on_with_what_it_held_and_counts_it(tmp_path: Path) -> None:
    assert Claims(tmp_path, "a", "0").claim(RUN) is not None
    assert Claims(tmp_path, "a", "1").claim(RUN) is None
    again = Claims(tmp_path, "a", "0").claim(RUN)
    assert again is not None
    assert len(again.causes) == 1


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("paused", ["before asking", "after asking"])
def test_a_late_write_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, paused: str) -> None:
    """The old holder sleeps in the middle of a write, before or after asking whether it may, and wakes too late."""
    path = records.path_of(tmp_path, "s", RUN)
    old, other = Claims(tmp_path / "l", "a").claim(RUN), Claims(tmp_path / "l", "b")
    assert old is not None
    journal = records.Journal(path, DESCRIPTION, old.token)
    journal.begin([], {})

    def take_over() -> None:
        new = followed(other, records.newest_token(path), (path,))
        theirs = records.Journal(path, DESCRIPTION, new.token, new.check)
        theirs.begin([], {})
        theirs.end({"status": "done", "why": "theirs"})
        new.release()

    def asked() -> None:
        if paused == "before asking":
            take_over()
        old.check()
        if paused == "after asking":
            take_over()

    journal.guard = asked
    with pytest.raises((Lost, FileNotFoundError)):
        journal.end({"status": "failed", "why": "late"})
    assert records.state_of(path) == ("done", "theirs")
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_heartbeat_moves_and_notices_a_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "HEARTBEAT_SECONDS", 0.01)
    lease = Claims(tmp_path, "a", "0").claim(RUN)
    assert lease is not None
    before = lease.file.read_bytes()
    with Heartbeat(lease) as heart:
        wait(lambda: lease.file.read_bytes() != before)
        assert Claims(tmp_path, "a", "0").claim(RUN) is not None
        assert heart.lost.wait(10)


def test_launches_are_told_to_stop_by_taking_a_file_away(tmp_path: Path) -> None:
    first, second = leases.open_launch(tmp_path), leases.open_launch(tmp_path)
    leases.close_launch(tmp_path, first)
    assert (leases.is_open(tmp_path, first), leases.is_open(tmp_path, second)) == (False, True)
    assert leases.close_all(tmp_path) == 1
    assert not leases.is_open(tmp_path, second)


@pytest.mark.parametrize("death", ["killed", "another start of the machine"])
def test_a_dead_launch_is_told_nothing_and_swept_away(
    tmp_path: Path, death: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "_machine", lambda: "mine")
    program = "import sys, time; from pathlib import Path; from ecgscale import leases\n"
    program += "print(leases.open_launch(Path(sys.argv[1]))); time.sleep(600)"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        text=True,
    ) as other:
        assert other.stdout is not None
        name = other.stdout.readline().strip()
        file = tmp_path / f"{name}.open"
        assert leases.sweep_dead(tmp_path) == []
        if death == "killed":
            other.kill()
            other.wait()
        else:
            said = json.loads(file.read_text())
            file.write_text("\n" + json.dumps({**said, "place": "0ld-1", "machine": "mine"}))
        alive = leases.open_launch(tmp_path)
        (tmp_path / "far.open").write_text("\n" + json.dumps({"place": "0ld-1", "machine": "far", "process": [1, 1]}))
        (tmp_path / "old.open").touch()  # as launches were announced before they said who they are
        assert leases.is_open(tmp_path, name)
        assert leases.close_all(tmp_path) == 3
        assert not leases.is_open(tmp_path, alive)
        assert list(tmp_path.iterdir()) == []
        other.kill()


def test_the_next_status_sweeps_a_dead_launch(tmp_path: Path) -> None:
    folder = leases.folder_of(tmp_path, "s")
    folder.mkdir(parents=True)
    said = {"place": leases._place(), "machine": leases._machine(), "process": [2**22 + 1, 1]}
    (folder / "dead.open").write_text("\n" + json.dumps(said))
    states(Sweep("s", (RESNET_SL,), ()), tmp_path)
    assert list(folder.iterdir()) == []


def wait(for_: Callable[[], bool]) -> None:
    import time

    for _ in range(1000):
        if for_():
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen")
