"""What Ray needs around it, and what a launch says, or does by itself, where that is not so."""

import os
import socket
import stat
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray

from ecgscale import records
from ecgscale.pool import launch, surroundings
from ecgscale.pool.shares import Pool
from ecgscale.pool.states import NotStarted
from ecgscale.pool.surroundings import Infeasible
from tests.shell import Shell

NOISE = "[2026-11-28 07:11:03,142 W 23512 23512] gcs_client.cc:210: Failed to get cluster ID from GCS server"


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that says nothing of Ray."""
    for name in ("RAY_ADDRESS", "RAY_TMPDIR", "TMPDIR", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def listener() -> Iterator[str]:
    """The address of something that listens and says nothing."""
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        yield f"127.0.0.1:{mute.getsockname()[1]}"


@pytest.fixture
def server() -> Iterator[str]:
    """The address of something that greets as servers of HTTP/2 do, and then says nothing."""
    yield from answering(bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)))


def answering(greeting: bytes) -> Iterator[str]:
    with socket.socket() as there:
        there.bind(("127.0.0.1", 0))
        there.listen()

        def greet() -> None:
            with suppress(OSError):
                while True:
                    one, _ = there.accept()
                    one.recv(64)
                    one.sendall(greeting)
                    one.close()

        threading.Thread(target=greet, daemon=True).start()
        yield f"127.0.0.1:{there.getsockname()[1]}"
        there.shutdown(socket.SHUT_RDWR)


def test_a_web_server_is_no_cluster() -> None:
    for greeting in (b"HTTP/1.1 400 Bad Request\r\n\r\n", b""):
        for address in answering(greeting):
            with pytest.raises(Infeasible, match=f"what listens at {address} is no Ray cluster$"):
                surroundings.reach(address)


def test_what_listens_and_says_nothing_is_not_waited_for(listener: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surroundings, "_HELLO_SECONDS", 0.1)
    monkeypatch.setenv("RAY_ADDRESS", listener)
    sentence = f"what listens at {listener} does not answer as Ray does within 0.1 s; RAY_ADDRESS names it"
    with pytest.raises(Infeasible, match=sentence):
        surroundings.reach(listener)


@pytest.mark.parametrize(
    ("asked", "told", "found"),
    [
        (None, None, None),
        (None, "", None),
        (None, "local", None),
        (None, "head:6379", "head:6379"),
        ("auto", "head:6379", "head:6379"),
        ("other:1", "head:6379", "other:1"),
        ("ray://head:10001", None, "ray://head:10001"),
        ("[::1]:6379", None, "[::1]:6379"),
    ],
)
def test_the_cluster_is_the_one_that_somebody_named(
    asked: str | None, told: str | None, found: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if told is not None:
        monkeypatch.setenv("RAY_ADDRESS", told)
    assert surroundings.address_of(asked) == found


def test_auto_is_what_ray_start_started_here_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    with pytest.raises(Infeasible, match="no Ray cluster was started on this machine"):
        surroundings.address_of("auto")
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text("10.0.0.1:6379\n")
    assert surroundings.address_of("auto") == "10.0.0.1:6379"
    assert surroundings.address_of(None) is None  # nobody named it


@pytest.mark.parametrize("address", ["head", "head:", ":6379", "head:port", "head:0", "head:65536"])
@pytest.mark.parametrize("by", ["--address", "RAY_ADDRESS"])
def test_what_is_no_address_is_said_with_who_named_it(address: str, by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if by == "RAY_ADDRESS":
        monkeypatch.setenv(by, address)
    with pytest.raises(ValueError, match=f"^{by} {address}: it has to be HOST:PORT, or auto$"):
        surroundings.address_of(address if by == "--address" else None)


def test_a_dead_address_of_the_environment_is_named_as_such(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    surroundings.reach(server)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(Infeasible, match=r"answers at 127.0.0.1:1: Connection refused; RAY_ADDRESS names it"):
        surroundings.reach("127.0.0.1:1")


@pytest.mark.parametrize("home", ["not there", "file/in/the/way", ""])
def test_a_home_without_a_token_that_cannot_be_written_needs_none(
    tmp_path: Path, home: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path / home))
    surroundings.give_token()
    token = os.environ.pop("RAY_AUTH_TOKEN")
    assert len(token) == 64
    surroundings.give_token()
    assert os.environ.pop("RAY_AUTH_TOKEN") != token  # nobody else's
    assert [path.name for path in tmp_path.iterdir()] == ["file"]  # and nothing is written into home


def test_a_token_that_is_there_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("\n")
    assert not surroundings.token_there()
    (tmp_path / ".ray" / "auth_token").write_text("secret")
    surroundings.give_token()
    assert "RAY_AUTH_TOKEN" not in os.environ
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match=r"RAY_AUTH_TOKEN_PATH .*nowhere: that file cannot be read or is empty"):
        surroundings.give_token()
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / ".ray" / "auth_token"))
    assert surroundings.token_there()


def test_sockets_get_a_short_folder_of_their_own_where_the_usual_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = Path("/tmp")
    monkeypatch.setenv("TMPDIR", str(short))
    with surroundings.sockets_folder() as usual:
        assert usual is None
    long = tmp_path / ("l" * 90)
    long.mkdir()
    (tmp_path / "file").touch()
    for unfit in (long, tmp_path / "file" / "x", Path("/nonexistent/x")):
        monkeypatch.setenv("TMPDIR", str(unfit))
        with surroundings.sockets_folder() as own:
            assert own is not None
            assert stat.S_IMODE(os.stat(own).st_mode) == 0o700
            with socket.socket(socket.AF_UNIX) as longest:  # as the system sees it
                path = f"{own}{surroundings._SESSION}"
                Path(path).parent.mkdir(parents=True)
                longest.bind(path)
        assert not Path(own).exists()
    monkeypatch.setattr(surroundings, "_SHORT", ())
    with pytest.raises(Infeasible, match=r"Ray needs a short folder .* set RAY_TMPDIR to one"):
        surroundings.sockets_folder().__enter__()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            "The current node timed out during startup. This could happen because some of the raylet failed to startup",
            "Ray did not start on this machine (The current node timed out during startup)",
        ),
        (
            "Failed to start GCS:\nTraceback (most recent call last):\n  File x",
            "Ray did not start on this machine (Failed to start GCS:)",
        ),
        ("", "Ray did not start on this machine (Exception)"),
    ],
)
def test_a_ray_that_does_not_start_is_a_sentence_and_a_log(
    shell: Shell, words: str, sentence: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    ended: list[bool] = []

    def init(**_: object) -> None:
        os.write(1, f"{NOISE}\n".encode())
        os.write(2, f"{NOISE}\n".encode())
        print("Traceback (most recent call last): in one of Ray's threads", file=sys.stderr)
        print("printed", flush=True)
        raise Exception(words)

    monkeypatch.setattr(launch.ray, "init", init)
    monkeypatch.setattr(launch.ray, "shutdown", lambda: ended.append(True))
    said = shell.type("launch", "mine")
    assert said.returncode == 1
    assert capfd.readouterr() == ("", "")
    assert said.stdout == ""
    last = said.stderr.splitlines()[-1]
    assert last.startswith(f"ecgscale: {sentence}; the same command tries again; how it came to this is in ")
    assert "Traceback" not in said.stderr
    assert NOISE not in said.stderr
    log = Path(shell.folder / last.rpartition(" ")[2]).read_text()
    assert log.count(NOISE) == 2
    assert "in one of Ray's threads" in log
    assert "Traceback" in log
    assert f"{shell.folder}/" not in log
    assert ended  # what had started of it is ended


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (ray.exceptions.AuthenticationError("InvalidAuthToken"), "asks for another token; set RAY_AUTH_TOKEN_PATH"),
        (RuntimeError("RPC error: Received http2 header with status: 404"), "is no Ray cluster (RPC error: Received"),
        (None, "does not answer as Ray does within 0.1 s"),
    ],
)
def test_what_listens_and_is_no_cluster_of_ours_is_refused_before_ray_asks(
    shell: Shell, server: str, answer: Exception | None, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(address: str) -> None:
        assert address == server
        if answer is None:
            time.sleep(1)
        else:
            raise answer

    monkeypatch.setattr(launch, "_ANSWER_SECONDS", 0.1)
    monkeypatch.setattr(launch.ray, "_raylet", SimpleNamespace(GcsClient=asked))
    monkeypatch.setattr(launch, "maybe_enable_token_auth_if_token_available", lambda **_: None)
    monkeypatch.setattr(launch.ray, "init", None)
    refused = shell.type("launch", "mine", "--address", server)
    assert refused.returncode == 3, refused.stderr
    last = refused.stderr.splitlines()[-1]
    assert last.startswith("ecgscale: refused: ")
    assert server in last
    assert sentence in last


def test_an_error_of_a_cluster_that_is_joined_is_a_sentence(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**_: object) -> None:
        raise RuntimeError("Version mismatch: The cluster was started with:\n    Ray: 2.9.0\n    Python: 3.10.4\n")

    monkeypatch.setattr(launch, "_ask", lambda address: None)
    monkeypatch.setattr(launch.ray, "init", init)
    monkeypatch.setattr(launch.ray, "shutdown", lambda: None)
    with (
        pytest.raises(NotStarted, match=r"cannot be joined \(Version mismatch: .* Ray: 2.9.0 Python: 3.10.4\)"),
        launch._joined(Pool(address=server)),
    ):
        raise AssertionError("it was joined")


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_a_launch_where_home_is_a_file_and_tmpdir_too_long_says_what_it_always_says(
    shell: Shell, tmp_path: Path
) -> None:
    """In a real process: all that it prints is ours, and nothing of Ray is left behind."""
    long = tmp_path / ("l" * 100)
    long.mkdir()
    (tmp_path / "file").touch()
    before = set(Path("/tmp").glob("ecgscale-*"))
    shell.environment |= {"HOME": str(tmp_path / "file"), "TMPDIR": str(long)}
    for name in ("RAY_TMPDIR", "RAY_ADDRESS", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        shell.environment.pop(name, None)
    ended = shell.run("launch", "mine", "--workers", "1", "--only", "objective=cmsc", "--only", "fraction=0.3")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == ""
    first, *between, done, following = ended.stderr.splitlines()
    assert first.startswith("mine: 0 of 1 runs are done, 1 to do in ")
    assert [line.split()[1] for line in between] == ["done"]
    assert (done, following) == ("1 done", "next: ecgscale fit mine")
    assert len(records.load(shell.folder / "results", ["mine"]).runs) == 1
    assert set(Path("/tmp").glob("ecgscale-*")) <= before


@pytest.mark.slow
def test_what_listens_and_says_nothing_is_refused_by_the_real_command(shell: Shell, listener: str) -> None:
    ended = shell.run("launch", "mine", "--address", listener)
    assert ended.returncode == 3, ended.stderr
    assert ended.stdout == ""
    # A line before it says how many runs there are, where that took more than two seconds.
    assert ended.stderr.splitlines()[-1] == (
        f"ecgscale: refused: what listens at {listener} does not answer as Ray does within 8 s"
    )
