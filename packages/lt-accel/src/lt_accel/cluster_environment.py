"""What a launcher says of a process: who started it and as which one of how many."""

import os
from typing import ClassVar

from lt_interfaces import MisconfigurationException


class ClusterEnvironment:
    """Reads a launcher's variables; subclass it with other names, or override the methods, and pass it as a plugin.

    `variables` names the environment variable of each of `global_rank`, `local_rank`, `node_rank`, `world_size` and
    `local_world_size` (processes on this machine).
    """

    variables: ClassVar[dict[str, str]] = {}
    default_port: ClassVar[int] = 29500
    requeue_signal: int | None = None
    """The signal by which the scheduler asks for a checkpoint and `requeue`; None if it never does."""

    @classmethod
    def detect(cls) -> bool:
        """True if this launcher started the process."""
        return any(cls.variables.get(what, "") in os.environ for what in ("global_rank", "world_size"))

    @property
    def creates_processes_externally(self) -> bool:
        """False if lt must start the other processes itself."""
        return True

    @property
    def main_address(self) -> str:
        """Host of rank zero."""
        return os.environ.get("MASTER_ADDR") or "127.0.0.1"

    @property
    def main_port(self) -> int:
        """Port of rank zero."""
        return self._port(self.default_port)

    def world_size(self) -> int:
        """Number of processes in the job."""
        return self._read("world_size")

    def global_rank(self) -> int:
        """Which of them this is."""
        return self._read("global_rank")

    def local_rank(self) -> int:
        """Which of those on this machine this is."""
        return self._read("local_rank", 0 if self.local_world_size() in (None, 1) else None)

    def node_rank(self) -> int:
        """Which machine this is."""
        if self.variables.get("node_rank", "") in os.environ:
            return self._read("node_rank")
        return self.global_rank() // max(1, self.local_world_size() or 1)

    def local_world_size(self) -> int | None:
        """Number of processes on this machine, if the launcher says."""
        return self._read("local_world_size") if self.variables.get("local_world_size", "") in os.environ else None

    def validate_settings(self, num_devices: int, num_nodes: int) -> None:
        """Refuse numbers that the launcher contradicts, and numbers of the launcher that contradict each other."""
        local, world = self.local_world_size(), self.world_size()
        if local is not None and local != num_devices:
            raise MisconfigurationException(
                f"`devices={num_devices}` asks for {num_devices} process(es) on each machine, but "
                f"{self._name('local_world_size')} is {local}. "
                f"Pass `devices={local}` (or 'auto'), or start {num_devices} on each machine; with "
                "`strategy='single_device'` each process is on its own."
            )
        if world != num_devices * num_nodes:
            raise MisconfigurationException(
                f"`devices={num_devices}` and `num_nodes={num_nodes}` ask for {num_devices * num_nodes} process(es), "
                f"but {self._name('world_size')} is {world}. "
                "Pass the numbers that the job was started with, or start it with these; with "
                "`strategy='single_device'` each process is on its own."
            )
        for what, rank, number in (
            ("local_rank", self.local_rank(), num_devices),
            ("node_rank", self.node_rank(), num_nodes),
            ("global_rank", self.global_rank(), world),
        ):
            if rank >= number:
                of = {"local_rank": f"`devices={num_devices}`", "node_rank": f"`num_nodes={num_nodes}`"}
                raise MisconfigurationException(
                    f"{self._name(what)} is {rank}, but {of.get(what, self._name('world_size'))} makes {number} of "
                    f"them, counted from 0. Set it to a number below {number}, or ask for as many as were started."
                )
        if world > 1:
            _ = self.main_port

    def requeue(self) -> None:
        """Ask the scheduler to run this job again; called on rank zero after the checkpoint is written."""

    def teardown(self) -> None:
        """Let go of what was set."""

    def _name(self, what: str) -> str:
        """What tells it, for messages."""
        variable = self.variables.get(what, "")
        return f"`{variable}`" if variable in os.environ else f"`{type(self).__name__}.{what}()`"

    def _read(self, what: str, default: int | None = None) -> int:
        return self._number(self.variables[what], default)

    def _number(self, variable: str, default: int | None = None) -> int:
        text = os.environ.get(variable)
        if text is None and default is not None:
            return default
        if text is None or not (text.isascii() and text.isdecimal()):
            raise MisconfigurationException(
                f"`{type(self).__name__}` needs a whole number in the environment variable `{variable}`, got {text!r}. "
                "Set it, or start the job with a launcher that does."
            )
        return int(text)

    def _port(self, default: int) -> int:
        port = self._number("MASTER_PORT", default)
        if not 0 < port < 1 << 16:
            raise MisconfigurationException(
                f"`MASTER_PORT` is {port}, which is no port. Set it to one from 1 to {(1 << 16) - 1}, or unset it."
            )
        return port
