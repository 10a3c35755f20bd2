"""Several processes that stop at one step, whichever of them was asked, and however late the others hear."""

import pytest
import torch
from lt_accel import Fabric


def train(fabric, asked):
    """Steps in lockstep; the ranks in `asked` are signalled in their third. Returns where each stopped, and why."""
    heard = []
    agreement = fabric.stop_together(heard.append)
    step, number = 0, 0
    while step < 500:
        fabric.all_reduce(torch.ones(1))
        step += 1
        if step == 3 and fabric.global_rank in asked:
            number = 15
        number = number or (heard[0] if heard else 0)
        if number and agreement.is_reached(step, number):
            break
    agreement.close()
    return fabric.all_gather(torch.tensor([step, number])).tolist()


@pytest.mark.parametrize("asked", [(0,), (2,), (0, 1, 2)])
def test_all_ranks_stop_at_the_same_step(asked):
    stopped = Fabric(accelerator="cpu", devices=3, strategy="ddp_fork").launch(train, asked)
    assert len({step for step, _ in stopped}) == 1
    assert {number for _, number in stopped} == {15}


def test_one_process_has_nobody_to_agree_with():
    fabric = Fabric(accelerator="cpu", devices=1)
    fabric.launch()
    assert fabric.stop_together(print) is None
