"""Who started this process and as which one of how many: one class for each launcher, read from its variables."""

import os
import re
import socket
from pathlib import Path
from typing import ClassVar

from lt_interfaces import MisconfigurationException


class ClusterEnvironment:
    """Reads a launcher's variables; subclass it with other names, or override the methods, and pass it as a plugin.

    `variables` names the environment variable of each of `global_rank`, `local_rank`, `node_rank`, `world_size` and
    `local_world_size` (processes on this machine).
    """

    variables: ClassVar[dict[str, str]] = {}
    default_port: ClassVar[int] = 29500

    @classmethod
    def detect(cls) -> bool:
        """True if this launcher started the process."""
        return all(cls.variables[what] in os.environ for what in ("global_rank", "world_size"))

    @property
    def creates_processes_externally(self) -> bool:
        """False if lt must start the other processes itself."""
        return True

    @property
    def main_address(self) -> str:
        """Host of rank zero."""
        return os.environ.get("MASTER_ADDR", "127.0.0.1")

    @property
    def main_port(self) -> int:
        """Port of rank zero."""
        return self._number("MASTER_PORT", self.default_port)

    def world_size(self) -> int:
        """Number of processes in the job."""
        return self._read("world_size")

    def global_rank(self) -> int:
        """Which of them this is."""
        return self._read("global_rank")

    def local_rank(self) -> int:
        """Which of those on this machine this is."""
        return self._read("local_rank", 0)

    def node_rank(self) -> int:
        """Which machine this is."""
        if self.variables.get("node_rank", "") in os.environ:
            return self._read("node_rank")
        return self.global_rank() // max(1, self.local_world_size() or 1)

    def local_world_size(self) -> int | None:
        """Number of processes on this machine, if the launcher says."""
        return self._read("local_world_size") if self.variables.get("local_world_size", "") in os.environ else None

    def validate_settings(self, num_devices: int, num_nodes: int) -> None:
        """Refuse numbers that the launcher contradicts."""
        local = self.local_world_size()
        if local is not None and local != num_devices:
            raise MisconfigurationException(
                f"`devices={num_devices}` asks for {num_devices} process(es) on each machine, but "
                f"`{self.variables['local_world_size']}` is {local}. "
                f"Pass `devices={local}` (or 'auto'), or start {num_devices} on each machine."
            )
        if self.world_size() != num_devices * num_nodes:
            raise MisconfigurationException(
                f"`devices={num_devices}` and `num_nodes={num_nodes}` ask for {num_devices * num_nodes} process(es), "
                f"but `{self.variables['world_size']}` is {self.world_size()}. "
                "Pass the numbers that the job was started with, or start it with these."
            )

    def teardown(self) -> None:
        """Let go of what was set."""

    def _read(self, what: str, default: int | None = None) -> int:
        return self._number(self.variables[what], default)

    def _number(self, variable: str, default: int | None = None) -> int:
        text = os.environ.get(variable)
        if text is None and default is not None:
            return default
        if text is None or not text.isdecimal():
            raise MisconfigurationException(
                f"`{type(self).__name__}` needs a whole number in the environment variable `{variable}`, got {text!r}. "
                "Set it, or start the job with a launcher that does."
            )
        return int(text)


class LightningEnvironment(ClusterEnvironment):
    """Processes that lt starts itself, or that you start by hand with `LOCAL_RANK` (and `NODE_RANK`) set."""

    variables: ClassVar[dict[str, str]] = {
        "local_rank": "LOCAL_RANK",
        "node_rank": "NODE_RANK",
        "world_size": "WORLD_SIZE",
    }

    def __init__(self) -> None:
        self._num_devices = self._num_nodes = 1

    @classmethod
    def detect(cls) -> bool:
        return True

    @property
    def creates_processes_externally(self) -> bool:
        return "LOCAL_RANK" in os.environ

    def world_size(self) -> int:
        return self._num_devices * self._num_nodes

    def global_rank(self) -> int:
        return self.node_rank() * self._num_devices + self.local_rank()

    def node_rank(self) -> int:
        return self._number("NODE_RANK", self._number("GROUP_RANK", 0))

    def local_world_size(self) -> int | None:
        return None

    def validate_settings(self, num_devices: int, num_nodes: int) -> None:
        self._num_devices, self._num_nodes = num_devices, num_nodes
        started = (
            self._number("WORLD_SIZE", self.world_size()) if self.creates_processes_externally else self.world_size()
        )
        if started != self.world_size():
            raise MisconfigurationException(
                f"`devices={num_devices}` and `num_nodes={num_nodes}` ask for {self.world_size()} process(es), but "
                f"`WORLD_SIZE` is {started}. Ask for the same number everywhere in a script, or for one "
                "device with `strategy='single_device'`."
            )
        for variable in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK"):
            if (
                num_nodes > 1
                and variable not in os.environ
                and not (variable == "NODE_RANK" and "GROUP_RANK" in os.environ)
            ):
                raise MisconfigurationException(
                    f"`num_nodes={num_nodes}` needs the environment variable `{variable}`, which is not set. Set it on "
                    "each machine, or start the job with torchrun or SLURM."
                )


class TorchElasticEnvironment(ClusterEnvironment):
    """torchrun."""

    variables: ClassVar[dict[str, str]] = {
        "global_rank": "RANK",
        "local_rank": "LOCAL_RANK",
        "node_rank": "GROUP_RANK",
        "world_size": "WORLD_SIZE",
        "local_world_size": "LOCAL_WORLD_SIZE",
    }

    @classmethod
    def detect(cls) -> bool:
        return "TORCHELASTIC_RUN_ID" in os.environ


class SLURMEnvironment(ClusterEnvironment):
    """srun, also from within sbatch; an interactive shell is not a job of its own."""

    variables: ClassVar[dict[str, str]] = {
        "global_rank": "SLURM_PROCID",
        "local_rank": "SLURM_LOCALID",
        "node_rank": "SLURM_NODEID",
        "world_size": "SLURM_NTASKS",
        "local_world_size": "SLURM_NTASKS_PER_NODE",
    }

    def __init__(self, auto_requeue: bool = True, requeue_signal: int | None = None) -> None:
        self.auto_requeue = auto_requeue
        self.requeue_signal = requeue_signal

    @classmethod
    def detect(cls) -> bool:
        interactive = os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive")
        return "SLURM_NTASKS" in os.environ and "SLURM_PROCID" in os.environ and not interactive

    def local_world_size(self) -> int | None:
        tasks = re.match(r"\d+", os.environ.get("SLURM_NTASKS_PER_NODE", os.environ.get("SLURM_TASKS_PER_NODE", "")))
        return int(tasks[0]) if tasks else None

    def validate_settings(self, num_devices: int, num_nodes: int) -> None:
        super().validate_settings(num_devices, num_nodes)
        if self.world_size() > 1 and "SLURM_STEP_ID" not in os.environ and "SLURM_STEPID" not in os.environ:
            raise MisconfigurationException(
                f"`SLURM_NTASKS` is {self.world_size()}, but `SLURM_STEP_ID` is not set, so this process runs alone. "
                "Start it with `srun python ...`."
            )

    @property
    def main_address(self) -> str:
        hosts = os.environ.get("SLURM_NODELIST", os.environ.get("SLURM_JOB_NODELIST", "127.0.0.1"))
        return os.environ.get("MASTER_ADDR", _first_host(hosts))

    @property
    def main_port(self) -> int:
        job = os.environ.get("SLURM_JOB_ID", "")
        return self._number("MASTER_PORT", 15000 + int(job[-4:]) if job.isdecimal() else self.default_port)


class LSFEnvironment(ClusterEnvironment):
    """jsrun on IBM LSF."""

    variables: ClassVar[dict[str, str]] = {
        "global_rank": "JSM_NAMESPACE_RANK",
        "local_rank": "JSM_NAMESPACE_LOCAL_RANK",
        "world_size": "JSM_NAMESPACE_SIZE",
    }

    @classmethod
    def detect(cls) -> bool:
        return super().detect() and "LSB_JOBID" in os.environ and "LSB_DJOB_RANKFILE" in os.environ

    @property
    def main_address(self) -> str:
        return os.environ.get("MASTER_ADDR", self._hosts()[0])

    @property
    def main_port(self) -> int:
        return self._number("MASTER_PORT", 10000 + self._number("LSB_JOBID") % 1000)

    def node_rank(self) -> int:
        host, hosts = socket.gethostname(), self._hosts()
        return hosts.index(host) if host in hosts else 0

    def _hosts(self) -> list[str]:
        """The machines in order; the first line of the file is the one that only launches."""
        lines = Path(os.environ["LSB_DJOB_RANKFILE"]).read_text().split()
        hosts = list(dict.fromkeys(lines))
        return hosts[1:] or hosts


class MPIEnvironment(ClusterEnvironment):
    """mpirun of Open MPI; several machines need `MASTER_ADDR` (`mpirun -x MASTER_ADDR=...`)."""

    variables: ClassVar[dict[str, str]] = {
        "global_rank": "OMPI_COMM_WORLD_RANK",
        "local_rank": "OMPI_COMM_WORLD_LOCAL_RANK",
        "world_size": "OMPI_COMM_WORLD_SIZE",
        "local_world_size": "OMPI_COMM_WORLD_LOCAL_SIZE",
    }

    def validate_settings(self, num_devices: int, num_nodes: int) -> None:
        super().validate_settings(num_devices, num_nodes)
        if num_nodes > 1 and "MASTER_ADDR" not in os.environ:
            raise MisconfigurationException(
                f"`num_nodes={num_nodes}` under mpirun needs `MASTER_ADDR`, which is not set. "
                "Pass it: `mpirun -x MASTER_ADDR=<host of rank 0>`."
            )


class IntelMPIEnvironment(MPIEnvironment):
    """mpirun of Intel MPI and MPICH."""

    variables: ClassVar[dict[str, str]] = {
        "global_rank": "PMI_RANK",
        "local_rank": "MPI_LOCALRANKID",
        "world_size": "PMI_SIZE",
        "local_world_size": "MPI_LOCALNRANKS",
    }


class KubeflowEnvironment(ClusterEnvironment):
    """Kubeflow's PyTorchJob, one process on each machine; never detected, so pass it as a plugin."""

    variables: ClassVar[dict[str, str]] = {"global_rank": "RANK", "node_rank": "RANK", "world_size": "WORLD_SIZE"}

    @classmethod
    def detect(cls) -> bool:
        return False

    def local_rank(self) -> int:
        return 0


_KNOWN: tuple[type[ClusterEnvironment], ...] = (
    TorchElasticEnvironment,  # first, since torchrun is also started by srun
    SLURMEnvironment,
    LSFEnvironment,
    MPIEnvironment,
    IntelMPIEnvironment,
    LightningEnvironment,
)


def detect_environment() -> ClusterEnvironment:
    """The launcher that started this process; `LightningEnvironment` if none did."""
    if "_LT_ACCEL_PARENT" in os.environ:  # our own child, wherever its parent runs
        return LightningEnvironment()
    return next(kind() for kind in _KNOWN if kind.detect())


def _first_host(nodes: str) -> str:
    """node[07-09,12],other -> node07."""
    return re.sub(r"\[([^\],-]+)[^\]]*\]", r"\1", nodes).split(",")[0]
