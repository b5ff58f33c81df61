"""A real Slurm on this machine for tests: its daemons with two nodes, in a folder of their own, started by hand."""

import os
import random
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import psutil

DAEMONS = ("munged", "slurmctld", "slurmd", "sbatch", "srun")
_CONFIGURATION = """
ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
SlurmUser=root
SlurmctldPort={ports[0]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
ReturnToService=2
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmdSpoolDir={folder}/spool-%n
StateSaveLocation={folder}/state
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
SchedulerParameters=sched_interval=2,bf_interval=5,batch_sched_delay=1
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
FirstJobId={first}
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
NodeName=n1 NodeHostname=localhost NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 RealMemory=4000
NodeName=n2 NodeHostname=localhost NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 RealMemory=4000
PartitionName=low Nodes=n[1-2] Default=YES PriorityTier=1 GraceTime=60
PartitionName=high Nodes=n[1-2] PriorityTier=10 PreemptMode=OFF
"""


def lacking() -> str:
    """What keeps this machine from running a Slurm of its own, in words; empty if nothing."""
    missing = [name for name in DAEMONS if not shutil.which(name)]
    if missing:
        return f"there is no {missing[0]} on this machine (Debian: slurm-wlm, munge)"
    return "" if os.geteuid() == 0 else "Slurm's daemons need root"


class Slurm:
    """Two nodes, and two partitions of them: what comes into ``high`` preempts what is in ``low``."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        folder.chmod(0o755)
        (folder / "state").mkdir()
        (folder / "munge.key").write_bytes(secrets.token_bytes(1024))
        (folder / "munge.key").chmod(0o400)
        conf = folder / "slurm.conf"
        first = random.randrange(1, 9999)
        conf.write_text(_CONFIGURATION.format(folder=folder, ports=_free_ports(3), first=first))
        self.environment = {**environment, "SLURM_CONF": str(conf)}
        files = {name: f"{folder}/munge.{name}" for name in ("socket", "key", "pid", "log", "seed")}
        self.do("munged", "--force", *(f"--{_MUNGE[name]}={path}" for name, path in files.items()))
        self.do("slurmctld", "-f", str(conf))
        for node in ("n1", "n2"):
            self.start_node(node)
        self.wait(lambda: self.do("sinfo", "-h", "-t", "idle", "-o", "%D").strip() == "2", "its nodes are up", 60)

    def start_node(self, node: str) -> None:
        self.do("slurmd", "-N", node, "-f", self.environment["SLURM_CONF"])

    def lose_node(self, node: str) -> None:
        """As if its power were cut: its daemon and all that ran there are no more. It is up again at once."""
        daemon = psutil.Process(int((self.folder / f"slurmd-{node}.pid").read_text()))
        _kill([daemon, *daemon.children(recursive=True), *self._started(SLURMD_NODENAME=node)])
        self.do("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test")
        self.start_node(node)

    def _started(self, **also: str) -> list[psutil.Process]:
        """The processes whose environment names this Slurm, and has these variables too."""
        wanted, found = {"SLURM_CONF": self.environment["SLURM_CONF"], **also}, []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if wanted.items() <= process.environ().items():
                    found.append(process)
        return found

    def do(self, *command: str) -> str:
        done = subprocess.run(
            command, env=self.environment, cwd=self.folder, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def fact(self, job: str, name: str) -> str:
        """What Slurm says of a job: Restarts, JobState, ..."""
        said = self.do("scontrol", "show", "job", job).split()
        return next(word.partition("=")[2] for word in said if word.startswith(f"{name}="))

    def minutes(self, job: str) -> int:
        """Whole minutes that a job has run, in this turn."""
        hours, minutes, _ = self.fact(job, "RunTime").rpartition("-")[2].split(":")
        return 60 * int(hours) + int(minutes)

    def wait(self, met: Callable[[], bool], what: str, seconds: float) -> float:
        """Until something is so; the seconds that took."""
        started = time.monotonic()
        while not met():
            assert time.monotonic() - started < seconds, f"not within {seconds:g} s: {what}"
            time.sleep(0.2)
        return time.monotonic() - started

    def end(self) -> None:
        subprocess.run(["scancel", "--full", "--signal=KILL", "-u", "root"], env=self.environment, check=False)
        for name in ("slurmd-n1", "slurmd-n2", "slurmctld", "munge"):
            file = self.folder / f"{name}.pid"
            if file.is_file():
                with suppress(psutil.Error):
                    daemon = psutil.Process(int(file.read_text()))
                    daemon.terminate()
                    daemon.wait(20)
        _kill(self._started())  # steps that their daemon has lost sight of


_MUNGE = {"socket": "socket", "key": "key-file", "pid": "pid-file", "log": "log-file", "seed": "seed-file"}


def _kill(processes: Iterable[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.Error):  # it has ended
            process.kill()


def _free_ports(n: int) -> list[int]:
    held = [socket.socket() for _ in range(n)]
    try:
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in held]
    finally:
        for one in held:
            one.close()
