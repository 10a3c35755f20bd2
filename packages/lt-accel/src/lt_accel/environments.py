"""One class for each launcher that may have started this process, and the one that did."""

import os
import socket
from pathlib import Path
from typing import ClassVar

from lt_interfaces import MisconfigurationException

from lt_accel.cluster_environment import ClusterEnvironment
from lt_accel.slurm_environment import SLURMEnvironment

__all__ = [
    "ClusterEnvironment",
    "IntelMPIEnvironment",
    "KubeflowEnvironment",
    "LSFEnvironment",
    "LightningEnvironment",
    "MPIEnvironment",
    "SLURMEnvironment",
    "TorchElasticEnvironment",
    "detect_environment",
]


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
        world = self.world_size()
        started = self._number("WORLD_SIZE", world)
        if started != world:
            raise MisconfigurationException(
                f"`devices={num_devices}` and `num_nodes={num_nodes}` ask for {world} process(es), but "
                f"`WORLD_SIZE` is {started}. Ask for the same number everywhere in a script, or for one "
                "device with `strategy='single_device'`; unset the variable if no launcher set it."
            )
        if "RANK" in os.environ and not self.creates_processes_externally:
            raise MisconfigurationException(
                f"`RANK` is {os.environ['RANK']!r}, but `LOCAL_RANK` is not set, so either this process was started as "
                f"one of {world} or it is to start them. Set `LOCAL_RANK`, unset `RANK`, or pass "
                "`plugins=KubeflowEnvironment()` where each machine runs one process."
            )
        super().validate_settings(num_devices, num_nodes)
        if self.creates_processes_externally and self._number("RANK", self.global_rank()) != self.global_rank():
            raise MisconfigurationException(
                f"`RANK` is {os.environ['RANK']}, but `LOCAL_RANK` and `NODE_RANK` make this rank "
                f"{self.global_rank()} with `devices={num_devices}`. Set them to the same place, or unset `RANK`."
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


class LSFEnvironment(ClusterEnvironment):
    """jsrun on IBM LSF."""

    variables: ClassVar[dict[str, str]] = {
        "global_rank": "JSM_NAMESPACE_RANK",
        "local_rank": "JSM_NAMESPACE_LOCAL_RANK",
        "world_size": "JSM_NAMESPACE_SIZE",
    }

    @property
    def main_address(self) -> str:
        return os.environ.get("MASTER_ADDR") or self._hosts()[0]

    @property
    def main_port(self) -> int:
        return self._port(10000 + self._number("LSB_JOBID") % 1000)

    def node_rank(self) -> int:
        host, hosts = socket.gethostname(), self._hosts()
        return hosts.index(host) if host in hosts else 0

    def _hosts(self) -> list[str]:
        """The machines in order; the first line of the file is the one that only launches."""
        file = os.environ.get("LSB_DJOB_RANKFILE")
        try:
            lines = Path(file or "?").read_text().split()
        except OSError as error:
            raise MisconfigurationException(
                f"`LSFEnvironment` needs the list of machines that `LSB_DJOB_RANKFILE` names, got {file!r}, which "
                f"cannot be read ({error.strerror}). Start the job with jsrun within bsub."
            ) from None
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

    def local_world_size(self) -> int | None:
        return 1

    def validate_settings(self, num_devices: int, num_nodes: int) -> None:
        super().validate_settings(num_devices, num_nodes)
        if num_nodes > 1 and not os.environ.get("MASTER_ADDR"):
            raise MisconfigurationException(
                f"`num_nodes={num_nodes}` needs the environment variable `MASTER_ADDR`, got "
                f"{os.environ.get('MASTER_ADDR')!r}. Set it to the host of rank 0, as a PyTorchJob does."
            )


_KNOWN: tuple[type[ClusterEnvironment], ...] = (
    TorchElasticEnvironment,  # first, since torchrun is also started by srun
    MPIEnvironment,  # mpirun may run within a job of SLURM, which then counts one task for each machine
    SLURMEnvironment,
    LSFEnvironment,
    IntelMPIEnvironment,
    LightningEnvironment,
)


def detect_environment() -> ClusterEnvironment:
    """The launcher that started this process; `LightningEnvironment` if none did."""
    if "_LT_ACCEL_PARENT" in os.environ:  # our own child, wherever its parent runs
        return LightningEnvironment()
    return next(kind() for kind in _KNOWN if kind.detect())
