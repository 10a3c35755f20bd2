"""Two hosts: network namespaces joined by a cable, torchrun on each, one of them killed and replaced, the cable cut."""

import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("restarted_training.py")
LIMIT = 200
FIRST = "10.77.0.1"
# Else torchrun on a host that comes later waits for an address that the first one tells only in its first round.
NEW_STORE_EACH_TIME = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}


pytestmark = pytest.mark.slow


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True)


@dataclass
class Host:
    """A network namespace with an address of its own."""

    name: str
    cable: str
    address: str
    is_first: bool

    def torchrun(self, folder, *args, restarts=0):
        """Started with one process by torchrun, in a folder that both hosts see."""
        how = f"is_host={int(self.is_first)},timeout=60,keep_alive_interval=1,keep_alive_max_attempt=3"
        options = [
            "--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d", "--rdzv-id=job", f"--rdzv-conf={how}",
            f"--rdzv-endpoint={FIRST}:29400", f"--local-addr={self.address}", f"--max-restarts={restarts}",
            "--monitor-interval=0.2",
        ]  # fmt: skip
        return self._start(folder, ["-m", "torch.distributed.run", *options], args, NEW_STORE_EACH_TIME)

    def by_hand(self, folder, *args):
        """Started by lt itself, as on machines without a launcher."""
        place = {"NODE_RANK": str(int(not self.is_first)), "MASTER_ADDR": FIRST, "MASTER_PORT": "29500"}
        return self._start(folder, [], args, place)

    def _start(self, folder, how, args, variables):
        with open(folder / f"words-{self.address}", "a") as words:
            return subprocess.Popen(
                ["ip", "netns", "exec", self.name, sys.executable, *how, str(PROGRAM), *map(str, args)],
                cwd=folder, stdout=words, stderr=words,
                env={**os.environ, "GLOO_SOCKET_IFNAME": self.cable, **variables},
            )  # fmt: skip

    def processes(self):
        found = subprocess.run(["ip", "netns", "pids", self.name], check=True, capture_output=True, text=True)
        return [int(pid) for pid in found.stdout.split()]

    def kill(self):
        """As if somebody had pulled the plug: all processes of this host at once."""
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def hosts():
    if os.geteuid() or not shutil.which("ip"):
        pytest.skip("hosts are network namespaces, which need root and `ip`")
    word = uuid.uuid4().hex[:6]
    one, two = (Host(f"lt-{word}-{i}", f"lt{word}{i}", f"{FIRST[:-1]}{i}", i == 1) for i in (1, 2))
    made = []
    try:
        for host in (one, two):
            try:
                ip("netns", "add", host.name)
            except subprocess.CalledProcessError as error:
                pytest.skip(f"network namespaces cannot be made here: {error.stderr.decode().strip()}")
            made.append(host)
        ip("link", "add", one.cable, "netns", one.name, "type", "veth", "peer", "name", two.cable, "netns", two.name)
        for host in (one, two):
            ip("-n", host.name, "addr", "add", f"{host.address}/24", "dev", host.cable)
            ip("-n", host.name, "link", "set", "lo", "up")
            ip("-n", host.name, "link", "set", host.cable, "up")
        yield one, two
    finally:
        for host in made:
            host.kill()
            ip("netns", "del", host.name)


def words(folder):
    return "\n".join(file.read_text()[-3000:] for file in sorted(folder.glob("words-*")))


def results(folder, *started):
    """The weights and the last step on each rank, and where its last start began, of runs that ended well."""
    for process in started:
        assert process.wait(timeout=LIMIT) == 0, words(folder)
    return [(folder / f"weights-{rank}").read_text().split() for rank in (0, 1)]


def wait_for(file, *started):
    deadline = time.monotonic() + LIMIT
    while not file.exists():
        assert time.monotonic() < deadline, words(file.parent)
        assert all(process.poll() is None for process in started), words(file.parent)
        time.sleep(0.05)


def fresh(folder):
    folder.mkdir()
    return folder


def test_a_host_that_is_killed_is_replaced_and_the_weights_are_those_of_a_run_in_peace(tmp_path, hosts):
    _, two = hosts
    peace, war = fresh(tmp_path / "peace"), fresh(tmp_path / "war")
    expected = results(peace, *(host.torchrun(peace, 2, 0, "live") for host in hosts))
    assert expected[0] == expected[1]
    first, second = (host.torchrun(war, 2, 13, "wait", restarts=3) for host in hosts)
    wait_for(war / "waiting-1", first, second)
    two.kill()
    second.wait()
    (war / "waiting-1").unlink()
    got = results(war, first, two.torchrun(war, 2, 0, "live"))
    assert [weights for weights, *_ in got] == [weights for weights, *_ in expected]
    assert [began for *_, began in got] == ["12", "12"]


def test_when_the_cable_is_cut_both_hosts_end_with_an_error_and_nothing_is_left(tmp_path, hosts):
    one, _ = hosts
    started = [host.by_hand(tmp_path, 2, 13, "wait") for host in hosts]
    wait_for(tmp_path / "waiting-1", *started)
    ip("-n", one.name, "link", "set", one.cable, "down")
    (tmp_path / "waiting-1").rename(tmp_path / "go on")
    assert [process.wait(timeout=LIMIT) for process in started] == [1, 1], words(tmp_path)
    assert [host.processes() for host in hosts] == [[], []]
    assert all("Timed out waiting 10000ms" in file.read_text() for file in tmp_path.glob("words-*")), words(tmp_path)
