import pytest
from lt_accel import Fabric, LightningEnvironment, SLURMEnvironment, TorchElasticEnvironment
from lt_accel.environments import (
    IntelMPIEnvironment,
    KubeflowEnvironment,
    LSFEnvironment,
    MPIEnvironment,
    detect_environment,
)
from lt_interfaces import MisconfigurationException

TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "x", "RANK": "3", "LOCAL_RANK": "1", "GROUP_RANK": "1", "WORLD_SIZE": "4",
    "LOCAL_WORLD_SIZE": "2",
}  # fmt: skip
SLURM = {
    "SLURM_NTASKS": "4", "SLURM_PROCID": "3", "SLURM_LOCALID": "1", "SLURM_NODEID": "1", "SLURM_STEP_ID": "0",
    "SLURM_NTASKS_PER_NODE": "2", "SLURM_JOB_ID": "41234", "SLURM_NODELIST": "gpu-[07-09,12],login",
}  # fmt: skip
OPEN_MPI = {
    "OMPI_COMM_WORLD_RANK": "3", "OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
}  # fmt: skip
INTEL_MPI = {"PMI_RANK": "3", "PMI_SIZE": "4", "MPI_LOCALRANKID": "1", "MPI_LOCALNRANKS": "2"}


def put(monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("variables", "kind"),
    [(TORCHRUN, TorchElasticEnvironment), (SLURM, SLURMEnvironment), (OPEN_MPI, MPIEnvironment),
     (INTEL_MPI, IntelMPIEnvironment), ({}, LightningEnvironment), ({**SLURM, **TORCHRUN}, TorchElasticEnvironment)],
)  # fmt: skip
def test_the_launcher_is_told_by_its_variables(monkeypatch, variables, kind):
    put(monkeypatch, variables)
    environment = detect_environment()
    assert type(environment) is kind
    if variables:
        assert (environment.global_rank(), environment.local_rank(), environment.node_rank()) == (3, 1, 1)
        assert (environment.world_size(), environment.local_world_size()) == (4, 2)
        assert environment.creates_processes_externally


def test_lsf_reads_ranks_and_hosts(monkeypatch, tmp_path):
    hosts = tmp_path / "ranks"
    hosts.write_text("login\na\na\nb\nb\n")
    put(monkeypatch, {"LSB_JOBID": "12345", "LSB_DJOB_RANKFILE": str(hosts), "JSM_NAMESPACE_RANK": "1",
                      "JSM_NAMESPACE_SIZE": "4", "JSM_NAMESPACE_LOCAL_RANK": "1"})  # fmt: skip
    environment = detect_environment()
    assert isinstance(environment, LSFEnvironment)
    assert (environment.main_address, environment.main_port, environment.global_rank()) == ("a", 10345, 1)


def test_slurm_finds_the_first_host_and_a_port_of_the_job(monkeypatch):
    put(monkeypatch, SLURM)
    environment = SLURMEnvironment()
    assert (environment.main_address, environment.main_port) == ("gpu-07", 16234)
    put(monkeypatch, {"MASTER_ADDR": "here", "MASTER_PORT": "1", "SLURM_NODELIST": "x"})
    assert (environment.main_address, environment.main_port) == ("here", 1)


def test_an_interactive_slurm_shell_is_no_job(monkeypatch):
    put(monkeypatch, {**SLURM, "SLURM_JOB_NAME": "interactive"})
    assert isinstance(detect_environment(), LightningEnvironment)


def test_kubeflow_is_used_when_it_is_passed(monkeypatch):
    put(monkeypatch, {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "m", "MASTER_PORT": "5"})
    engine = Fabric(accelerator="cpu", devices=1, num_nodes=2, plugins=KubeflowEnvironment())
    assert (engine.global_rank, engine.local_rank, engine.node_rank, engine.world_size) == (1, 0, 1, 2)


def test_devices_auto_is_what_the_launcher_started(monkeypatch):
    put(monkeypatch, TORCHRUN)
    engine = Fabric(accelerator="cpu", num_nodes=2)
    assert (engine.global_rank, engine.world_size, engine.strategy.start_method) == (3, 4, "popen")


@pytest.mark.parametrize(
    ("variables", "arguments", "words"),
    [
        (TORCHRUN, {"devices": 4}, ("devices=4", "`LOCAL_WORLD_SIZE` is 2")),
        (TORCHRUN, {"devices": 2}, ("num_nodes=1", "`WORLD_SIZE` is 4")),
        (SLURM, {"devices": 3, "num_nodes": 2}, ("devices=3", "`SLURM_NTASKS_PER_NODE` is 2")),
        ({**SLURM, "SLURM_NTASKS": "6"}, {"devices": 2, "num_nodes": 2}, ("num_nodes=2", "`SLURM_NTASKS` is 6")),
        ({"LOCAL_RANK": "1", "WORLD_SIZE": "2"}, {"devices": 4}, ("devices=4", "`WORLD_SIZE` is 2")),
        ({**TORCHRUN, "RANK": "one"}, {"devices": 2, "num_nodes": 2}, ("`RANK`", "'one'")),
    ],
)
def test_a_mismatch_names_the_variable_and_both_values(monkeypatch, variables, arguments, words):
    put(monkeypatch, variables)
    with pytest.raises(MisconfigurationException) as error:
        Fabric(accelerator="cpu", strategy="ddp", **arguments)
    assert all(word in str(error.value) for word in words)


def test_slurm_tasks_without_srun_are_refused_instead_of_waited_for(monkeypatch):
    put(monkeypatch, {k: v for k, v in SLURM.items() if k != "SLURM_STEP_ID"})
    with pytest.raises(MisconfigurationException, match="srun python"):
        Fabric(accelerator="cpu", devices=2, num_nodes=2)


def test_one_device_needs_no_agreement_in_processes_started_by_hand(monkeypatch):
    put(monkeypatch, {"LOCAL_RANK": "1", "WORLD_SIZE": "2"})
    assert Fabric(accelerator="cpu", devices=1).world_size == 1
