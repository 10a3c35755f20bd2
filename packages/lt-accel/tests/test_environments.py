import os
import signal

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


HAND = {"LOCAL_RANK": "1", "NODE_RANK": "1", "MASTER_ADDR": "a", "MASTER_PORT": "5"}
KUBEFLOW = {"RANK": "3", "WORLD_SIZE": "4", "MASTER_ADDR": "a", "MASTER_PORT": "5"}
LSF = {"LSB_JOBID": "12345", "LSB_DJOB_RANKFILE": "/dev/null", "JSM_NAMESPACE_RANK": "3", "JSM_NAMESPACE_SIZE": "4",
       "JSM_NAMESPACE_LOCAL_RANK": "1"}  # fmt: skip
TWICE_TWO = {"devices": 2, "num_nodes": 2}
ADDRESS = {"MASTER_ADDR": "a"}


def kubeflow(**arguments):
    return {"devices": 1, "num_nodes": 4, "plugins": KubeflowEnvironment(), **arguments}


@pytest.mark.parametrize(
    ("variables", "arguments", "words"),
    [
        (TORCHRUN, {"devices": 4}, ("devices=4", "`LOCAL_WORLD_SIZE` is 2")),
        (TORCHRUN, {"devices": 2}, ("num_nodes=1", "`WORLD_SIZE` is 4")),
        (TORCHRUN, {"devices": 1, "strategy": "auto"}, ("devices=1", "`LOCAL_WORLD_SIZE` is 2", "single_device")),
        (TORCHRUN | {"RANK": "one"}, TWICE_TWO, ("`RANK`", "'one'")),
        (TORCHRUN | {"RANK": None}, TWICE_TWO, ("`RANK`", "None")),
        (TORCHRUN | {"WORLD_SIZE": None}, TWICE_TWO, ("`WORLD_SIZE`", "None")),
        (TORCHRUN | {"LOCAL_RANK": None}, TWICE_TWO, ("`LOCAL_RANK`", "None")),
        (TORCHRUN | {"RANK": "4"}, TWICE_TWO, ("`RANK` is 4", "`WORLD_SIZE` makes 4")),
        (TORCHRUN | {"LOCAL_RANK": "2"}, TWICE_TWO, ("`LOCAL_RANK` is 2", "`devices=2`")),
        (TORCHRUN | {"GROUP_RANK": "2"}, TWICE_TWO, ("`GROUP_RANK` is 2", "`num_nodes=2`")),
        (TORCHRUN | {"MASTER_PORT": "99999"}, TWICE_TWO, ("`MASTER_PORT` is 99999",)),
        (TORCHRUN | {"MASTER_PORT": "http"}, TWICE_TWO, ("`MASTER_PORT`", "'http'")),
        (SLURM, {"devices": 3, "num_nodes": 2}, ("devices=3", "`SLURM_NTASKS_PER_NODE` is 2")),
        (SLURM | {"SLURM_NTASKS_PER_NODE": None, "SLURM_TASKS_PER_NODE": "2(x2)"}, {"devices": 4},
         ("devices=4", "`SLURM_TASKS_PER_NODE` is 2")),
        (SLURM | {"SLURM_NTASKS_PER_NODE": "two"}, TWICE_TWO, ("`SLURM_NTASKS_PER_NODE`", "'two'")),
        (SLURM | {"SLURM_NTASKS": "6"}, TWICE_TWO, ("num_nodes=2", "`SLURM_NTASKS` is 6")),
        (SLURM | {"SLURM_NTASKS": "2", "SLURM_PROCID": "1", "SLURM_NODEID": "0", "SLURM_NNODES": "2"}, {"devices": 2},
         ("num_nodes=1", "`SLURM_NNODES` is 2")),
        (SLURM | {"SLURM_PROCID": "-1"}, TWICE_TWO, ("`SLURM_PROCID`", "'-1'")),
        (SLURM | {"SLURM_PROCID": "7"}, TWICE_TWO, ("`SLURM_PROCID` is 7", "makes 4")),
        (SLURM | {"SLURM_LOCALID": None}, TWICE_TWO, ("`SLURM_LOCALID`", "None")),
        (SLURM | {"SLURM_STEP_ID": None}, TWICE_TWO, ("`SLURM_STEP_ID` is not set", "srun python")),
        (SLURM, {"devices": 1, "strategy": "auto"}, ("devices=1", "`SLURM_NTASKS_PER_NODE` is 2")),
        (OPEN_MPI, {"devices": 2}, ("num_nodes=1", "`OMPI_COMM_WORLD_SIZE` is 4")),
        (OPEN_MPI, TWICE_TWO, ("num_nodes=2", "`MASTER_ADDR`")),
        (OPEN_MPI | {"OMPI_COMM_WORLD_SIZE": None}, TWICE_TWO, ("`OMPI_COMM_WORLD_SIZE`", "None")),
        (OPEN_MPI | {"OMPI_COMM_WORLD_RANK": None}, TWICE_TWO, ("`OMPI_COMM_WORLD_RANK`", "None")),
        (OPEN_MPI | {"OMPI_COMM_WORLD_RANK": ""}, TWICE_TWO, ("`OMPI_COMM_WORLD_RANK`", "''")),
        (INTEL_MPI, {"devices": 4}, ("devices=4", "`MPI_LOCALNRANKS` is 2")),
        (INTEL_MPI | {"PMI_SIZE": None}, TWICE_TWO, ("`PMI_SIZE`", "None")),
        (INTEL_MPI | {"MPI_LOCALRANKID": "2"} | ADDRESS, TWICE_TWO, ("`MPI_LOCALRANKID` is 2", "`devices=2`")),
        (LSF, {"devices": 3}, ("devices=3", "`JSM_NAMESPACE_SIZE` is 4")),
        (LSF | {"LSB_DJOB_RANKFILE": None}, TWICE_TWO, ("`LSB_DJOB_RANKFILE`", "None")),
        (LSF | {"JSM_NAMESPACE_SIZE": None}, TWICE_TWO, ("`JSM_NAMESPACE_SIZE`", "None")),
        (LSF | {"LSB_JOBID": "x"}, TWICE_TWO, ("`LSB_JOBID`", "'x'")),
        (KUBEFLOW, kubeflow(num_nodes=2), ("num_nodes=2", "`WORLD_SIZE` is 4")),
        (KUBEFLOW, kubeflow(devices=2, num_nodes=2), ("devices=2", "is 1")),
        (KUBEFLOW | {"WORLD_SIZE": None}, kubeflow(), ("`WORLD_SIZE`", "None")),
        (KUBEFLOW | {"RANK": "4"}, kubeflow(), ("`RANK` is 4", "makes 4")),
        (KUBEFLOW | {"MASTER_ADDR": ""}, kubeflow(), ("`MASTER_ADDR`", "''")),
        (KUBEFLOW, {"devices": 1, "num_nodes": 4}, ("`RANK` is '3'", "`LOCAL_RANK`", "KubeflowEnvironment()")),
        (HAND | {"WORLD_SIZE": "2"}, {"devices": 4}, ("devices=4", "`WORLD_SIZE` is 2")),
        (HAND | {"WORLD_SIZE": "x"}, {"devices": 4}, ("`WORLD_SIZE`", "'x'")),
        (HAND | {"RANK": "2"}, TWICE_TWO, ("`RANK` is 2", "rank 3")),
        (HAND | {"LOCAL_RANK": "2"}, TWICE_TWO, ("`LOCAL_RANK` is 2", "`devices=2`")),
        (HAND | {"NODE_RANK": "2"}, TWICE_TWO, ("`NODE_RANK` is 2", "`num_nodes=2`")),
        (HAND | {"MASTER_PORT": None}, TWICE_TWO, ("num_nodes=2", "`MASTER_PORT`")),
        (HAND | {"MASTER_ADDR": None}, TWICE_TWO, ("num_nodes=2", "`MASTER_ADDR`")),
        ({"RANK": "0"}, {"devices": 2}, ("`RANK` is '0'", "`LOCAL_RANK`")),
        ({"WORLD_SIZE": "4"}, {"devices": 2}, ("devices=2", "`WORLD_SIZE` is 4")),
    ],
)  # fmt: skip
def test_a_mismatch_names_the_variable_and_both_values(monkeypatch, variables, arguments, words):
    put(monkeypatch, {name: value for name, value in variables.items() if value is not None})
    with pytest.raises(MisconfigurationException) as error:
        Fabric(**{"accelerator": "cpu", "strategy": "ddp", **arguments}).strategy.environment.main_address  # noqa: B018
    assert all(word in str(error.value) for word in words), str(error.value)


@pytest.mark.parametrize(
    ("variables", "arguments"),
    [(TORCHRUN, TWICE_TWO), (SLURM, TWICE_TWO), (SLURM | OPEN_MPI | ADDRESS, TWICE_TWO),
     (INTEL_MPI | ADDRESS, TWICE_TWO), (LSF, {"devices": 4}), (HAND, TWICE_TWO),
     (HAND | {"WORLD_SIZE": "4", "RANK": "3"}, TWICE_TWO),
     (KUBEFLOW, kubeflow()), (KUBEFLOW, kubeflow(devices="auto"))],
)  # fmt: skip
def test_what_a_launcher_and_the_arguments_agree_on_is_taken(monkeypatch, variables, arguments):
    put(monkeypatch, variables | ({"JSM_NAMESPACE_LOCAL_RANK": "3"} if variables is LSF else {}))
    engine = Fabric(accelerator="cpu", strategy="ddp", **arguments)
    assert (engine.global_rank, engine.world_size) == (3, 4)


def test_one_device_needs_no_agreement_in_processes_started_by_hand(monkeypatch):
    put(monkeypatch, {"LOCAL_RANK": "1", "WORLD_SIZE": "2"})
    assert Fabric(accelerator="cpu", devices=1).world_size == 1


def test_a_process_on_its_own_is_asked_for_by_name(monkeypatch):
    put(monkeypatch, TORCHRUN)
    assert Fabric(accelerator="cpu", devices=1, strategy="single_device").world_size == 1


@pytest.fixture
def scontrol(tmp_path, monkeypatch):
    """A program of that name that notes its arguments and ends with the status that is asked for."""

    def install(status=0, said=""):
        program = tmp_path / "scontrol"
        program.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$@\" >> {tmp_path}/calls\necho '{said}' >&2\nexit {status}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
        return tmp_path / "calls"

    return install


@pytest.mark.parametrize(
    ("variables", "number"),
    [({"SLURM_JOB_ID": "41"}, "41"),
     ({"SLURM_JOB_ID": "43", "SLURM_ARRAY_JOB_ID": "41", "SLURM_ARRAY_TASK_ID": "2"}, "41_2")],
)  # fmt: skip
def test_slurm_runs_the_job_again_by_its_number(monkeypatch, scontrol, variables, number):
    put(monkeypatch, variables)
    calls = scontrol()
    environment = SLURMEnvironment()
    environment.requeue()
    assert calls.read_text().split() == ["requeue", number]
    assert environment.requeue_signal == signal.SIGUSR1


@pytest.mark.parametrize("job", ["41; touch marker", "41\n", "--help", "", "\u0661", None])
def test_a_job_number_that_is_none_is_refused_and_nothing_is_run(monkeypatch, scontrol, job):
    put(monkeypatch, {} if job is None else {"SLURM_JOB_ID": job})
    calls = scontrol()
    with pytest.raises(MisconfigurationException, match="`SLURM_JOB_ID` is"):
        SLURMEnvironment().requeue()
    assert not calls.exists()


def test_slurm_that_takes_no_job_is_quoted(monkeypatch, scontrol):
    put(monkeypatch, {"SLURM_JOB_ID": "41"})
    scontrol(3, "Job is not requeueable")
    with pytest.raises(RuntimeError, match=r"`scontrol requeue 41` failed.*status 3.*Job is not requeueable"):
        SLURMEnvironment().requeue()
    monkeypatch.setenv("PATH", "")
    with pytest.raises(RuntimeError, match=r"`scontrol requeue 41` failed.*by hand"):
        SLURMEnvironment().requeue()


def test_only_slurm_requeues_and_only_if_it_may(monkeypatch, scontrol):
    put(monkeypatch, {"SLURM_JOB_ID": "41"})
    calls = scontrol()
    for environment in (SLURMEnvironment(auto_requeue=False), LightningEnvironment()):
        environment.requeue()
        assert environment.requeue_signal is None
    assert SLURMEnvironment(requeue_signal=signal.SIGUSR2).requeue_signal == signal.SIGUSR2
    assert not calls.exists()
