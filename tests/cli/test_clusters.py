"""Files that start Ray on clusters: the Slurm script run with stand-ins for Slurm and Ray, others by their schema."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from ecgscale.cli.planning import CLUSTERS
from tests.paths import HOUSE
from tests.shell import Shell

FOLDER = HOUSE / "ecgscale" / "clusters"
# What is on the PATH of an allocation of two nodes: every call is written down, srun runs its command here.
STANDINS = {
    "srun": 'while [[ $1 == --* ]]; do [[ $1 == --nodelist=* ]] && export NODE=${1#*=}; shift; done; exec "$@"',
    "hostname": "echo 10.0.0.1 10.1.0.1",
    "scontrol": '[[ $1 == show ]] && printf "n1\\nn2\\n" || echo "scontrol $*" >> "$LOG"',
    "ray": """
echo "ray $* on ${NODE:-the batch node}" >> "$LOG"
if [[ $1 == start ]]; then trap 'echo "ray on $NODE ended" >> "$LOG"; exit 0' TERM; while :; do sleep 0.05; done; fi""",
    "ecgscale": """
trap 'echo "launch heard TERM" >> "$LOG"; sleep 0.2; exit 143' TERM
echo "ecgscale $*" >> "$LOG"
for _ in $(seq "$TICKS"); do sleep 0.05; done""",
}


class Allocation:
    """The Slurm script at work in an allocation of two nodes."""

    def __init__(self, folder: Path, ticks: int) -> None:
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
            "ECGSCALE_HOME": "/shared",
            "SLURM_JOB_ID": "123456",
            "SLURM_JOB_NODELIST": "n[1-2]",
            "SLURM_CPUS_PER_TASK": "8",
            "SLURM_GPUS_ON_NODE": "4",
        }
        command = ["bash", str(FOLDER / "slurm.sh"), "mine", "--max-device-hours", "9"]
        self.job = subprocess.Popen(command, env=given, stderr=subprocess.PIPE, text=True)

    def wait_for(self, line: str) -> None:
        for _ in range(400):
            if line in self.log.read_text():
                return
            assert self.job.poll() is None, self.job.communicate()
            time.sleep(0.05)
        raise AssertionError(f"{line!r} was never logged: {self.log.read_text()}")

    def end(self) -> tuple[int, list[str]]:
        """How it ended, and all that was called; what it started has ended, too."""
        code = self.job.wait(30)
        for node in ("n1", "n2"):
            for _ in range(100):
                if f"ray on {node} ended" in self.log.read_text():
                    break
                time.sleep(0.05)
            else:
                raise AssertionError(f"Ray on {node} goes on")
        return code, self.log.read_text().splitlines()


def test_slurm_starts_ray_on_every_node_and_launches(tmp_path: Path) -> None:
    code, log = Allocation(tmp_path, ticks=4).end()
    assert code == 0
    address = "10.0.0.1:23456"
    head = [line for line in log if line.startswith("ray start") and "--head" in line]
    assert len(head) == 1
    assert head[0].endswith("on n1")
    assert {"--num-cpus=8", "--num-gpus=4", "--port=23456", "--include-dashboard=false"} <= set(head[0].split())
    assert any(f"--address={address}" in line and line.endswith("on n2") for line in log if "ray start" in line)
    assert f"ecgscale launch mine --max-device-hours 9 --address {address} --yes" in log
    assert not any("requeue" in line for line in log)


@pytest.mark.parametrize(("number", "again"), [(signal.SIGUSR1, True), (signal.SIGTERM, False)])
def test_slurm_stops_gracefully_and_is_queued_again_at_the_limit_only(
    tmp_path: Path, number: signal.Signals, again: bool
) -> None:
    allocation = Allocation(tmp_path, ticks=1000)
    allocation.wait_for("ecgscale launch")
    allocation.job.send_signal(number)
    code, log = allocation.end()
    assert code == 143
    assert log.count("launch heard TERM") == 1
    assert ("scontrol requeue 123456" in log) == again


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
