"""SLURM: ranks and hosts of a job step, and the job run again when its time is up."""

import os
import re
import signal
import subprocess
from typing import ClassVar

from lt_interfaces import MisconfigurationException

from lt_accel.cluster_environment import ClusterEnvironment


class SLURMEnvironment(ClusterEnvironment):
    """srun, also from within sbatch; an interactive shell is not a job of its own.

    With `auto_requeue`, `requeue_signal` (SIGUSR1, as in `#SBATCH --signal=SIGUSR1@90`) has the job run again.
    """

    variables: ClassVar[dict[str, str]] = {
        "global_rank": "SLURM_PROCID",
        "local_rank": "SLURM_LOCALID",
        "node_rank": "SLURM_NODEID",
        "world_size": "SLURM_NTASKS",
        "local_world_size": "SLURM_NTASKS_PER_NODE",
    }

    def __init__(self, auto_requeue: bool = True, requeue_signal: int | None = None) -> None:
        self.auto_requeue = auto_requeue
        self.requeue_signal = signal.SIGUSR1 if auto_requeue and requeue_signal is None else requeue_signal

    @classmethod
    def detect(cls) -> bool:
        interactive = os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive")
        return "SLURM_NTASKS" in os.environ and "SLURM_PROCID" in os.environ and not interactive

    def local_world_size(self) -> int | None:
        if "SLURM_NTASKS_PER_NODE" in os.environ:
            return self._read("local_world_size")
        text = os.environ.get("SLURM_TASKS_PER_NODE", "")
        each = re.fullmatch(r"([0-9]+)(\(x[0-9]+\))?", text)  # the same number on all machines, else unknown
        return int(each[1]) if each else None

    def validate_settings(self, num_devices: int, num_nodes: int) -> None:
        super().validate_settings(num_devices, num_nodes)
        nodes = self._number("SLURM_NNODES", num_nodes)
        if nodes != num_nodes:
            raise MisconfigurationException(
                f"`num_nodes={num_nodes}` was asked for, but `SLURM_NNODES` is {nodes}. Pass `num_nodes={nodes}`, or "
                f"ask for machines with `#SBATCH --nodes={num_nodes}`."
            )
        if self.world_size() > 1 and "SLURM_STEP_ID" not in os.environ and "SLURM_STEPID" not in os.environ:
            raise MisconfigurationException(
                f"`SLURM_NTASKS` is {self.world_size()}, but `SLURM_STEP_ID` is not set, so this process runs alone. "
                "Start it with `srun python ...`."
            )

    @property
    def main_address(self) -> str:
        hosts = os.environ.get("SLURM_NODELIST", os.environ.get("SLURM_JOB_NODELIST", "127.0.0.1"))
        return os.environ.get("MASTER_ADDR") or _first_host(hosts)

    @property
    def main_port(self) -> int:
        job = os.environ.get("SLURM_JOB_ID", "")
        return self._port(15000 + int(job[-4:]) if re.fullmatch("[0-9]+", job) else self.default_port)

    def requeue(self) -> None:
        """`scontrol requeue` with this job's number; RuntimeError if SLURM did not take it."""
        if not self.auto_requeue:
            return
        command = ["scontrol", "requeue", _job()]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)  # noqa: S603
        except (OSError, subprocess.TimeoutExpired) as error:
            raise RuntimeError(_not_requeued(command, str(error))) from error
        if done.returncode:
            said = (done.stderr or done.stdout).strip() or "nothing"
            raise RuntimeError(_not_requeued(command, f"it ended with status {done.returncode} and said: {said}"))

    def _name(self, what: str) -> str:
        if what == "local_world_size" and "SLURM_NTASKS_PER_NODE" not in os.environ:
            return "`SLURM_TASKS_PER_NODE`"
        return super()._name(what)


def _job() -> str:
    """The number by which scontrol knows this job: of an array, the one task."""
    names = ["SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"] if "SLURM_ARRAY_JOB_ID" in os.environ else ["SLURM_JOB_ID"]
    for name in names:
        if not re.fullmatch("[0-9]+", os.environ.get(name, "")):
            raise MisconfigurationException(
                f"The job cannot be requeued: `{name}` is {os.environ.get(name)!r}, not a job's number. "
                "Run under SLURM, or pass `SLURMEnvironment(auto_requeue=False)`."
            )
    return "_".join(os.environ[name] for name in names)


def _not_requeued(command: list[str], why: str) -> str:
    return (
        f"`{' '.join(command)}` failed, so the job will not run again by itself: {why}. Submit it again by hand, or "
        "pass `SLURMEnvironment(auto_requeue=False)`."
    )


def _first_host(nodes: str) -> str:
    """node[07-09,12],other -> node07."""
    return re.sub(r"\[([^\],-]+)[^\]]*\]", r"\1", nodes).split(",")[0]
