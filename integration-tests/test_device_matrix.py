"""Each precision under each strategy, and each number of processes, gives what one process gives; steps are counted."""

import ast
import itertools
from pathlib import Path

import pytest
import torch
from programs import python

PROGRAM = Path(__file__).with_name("matrix_cells.py")
TOLERANCES = {
    "32-true": 1e-6,
    "64-true": 1e-12,
    "16-mixed": 5e-3,
    "bf16-mixed": 1e-2,
    "16-true": 5e-3,
    "bf16-true": 3e-2,
}
STRATEGIES = ("ddp", "ddp_find_unused_parameters_true", "fsdp", "grad_op", "tensor")
MATRIX = [f"{strategy}:{precision}:1" for strategy in STRATEGIES for precision in TOLERANCES]
NUMBERS = {n: [f"ddp:32-true:{a}" for a in (1, 2)] + ["fsdp:32-true:2"] for n in (2, 3, 4)}
NUMBERS[4].append("hybrid:32-true:1")
COUNTS = ["counts:0", "counts:20"]
ASKED = {
    1: [f"alone:{precision}:1" for precision in TOLERANCES] + ["alone:32-true:2", *COUNTS],
    2: [*MATRIX, *NUMBERS[2], *COUNTS],
    3: NUMBERS[3],
    4: NUMBERS[4],
}


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> dict[int, dict]:
    """What each cell gave, by the number of processes; each number is one program."""
    folder = tmp_path_factory.mktemp("cells")
    found = {}
    for number, cells in ASKED.items():
        file = folder / f"{number}.pt"
        done = python(PROGRAM, number, file, *dict.fromkeys(cells), cwd=folder)
        assert done.returncode == 0, done.stderr[-4000:]
        found[number] = torch.load(file, weights_only=True)
    return found


def assert_alike(got: dict, expected: dict, tolerance: float) -> None:
    """The same number of steps, and loss, metrics, predictions and weights within the tolerance."""
    assert got["steps"] == expected["steps"] == 6
    assert got["metrics"] == pytest.approx(expected["metrics"], abs=max(tolerance, 1e-6))  # exchanged in 32 bits
    ids, values = zip(*ast.literal_eval(got["predictions"]), strict=True)
    assert ids == tuple(range(17))
    assert values == pytest.approx([v for _, v in ast.literal_eval(expected["predictions"])], abs=tolerance)
    for name, weight in expected["weights"].items():
        torch.testing.assert_close(got["weights"][name], weight, atol=tolerance, rtol=0)


@pytest.mark.parametrize("cell", MATRIX)
def test_two_processes_give_what_one_gives_in_each_precision(results, cell):
    _, precision, _ = cell.split(":")
    assert_alike(results[2][cell], results[1][f"alone:{precision}:1"], TOLERANCES[precision])


@pytest.mark.parametrize(("processes", "cell"), [(n, cell) for n, cells in NUMBERS.items() for cell in cells])
def test_any_number_of_processes_gives_what_one_gives_with_the_one_big_batch(results, processes, cell):
    assert_alike(results[processes][cell], results[1]["alone:32-true:1"], 2e-6)


def test_accumulated_batches_give_what_the_one_big_batch_gives(results):
    assert_alike(results[1]["alone:32-true:2"], results[1]["alone:32-true:1"], 2e-6)


def test_training_has_moved_the_weights_and_precisions_differ(results):
    biases = [results[1][f"alone:{precision}:1"]["weights"]["first.bias"].double() for precision in TOLERANCES]
    assert all(not torch.equal(one, other) for one, other in itertools.combinations(biases, 2))
    assert results[1]["alone:32-true:1"]["metrics"]["loss_0"] < 1.0


@pytest.mark.parametrize("logged", COUNTS)
def test_ten_steps_exchange_ten_sums_of_gradients_and_read_no_number(results, logged):
    assert results[2][logged] == {"c10d::allreduce_": 10, "gloo:all_reduce": 10}
    assert results[1][logged] == {}
