"""The stand-in's one operator; the rest of it acts only where torchvision is installed."""

import subprocess
import sys

import torch
from torchvision_without_cuda import non_maximum_suppression


def test_of_overlapping_boxes_the_best_stays():
    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 1, 10, 10], [20, 20, 30, 30]])
    scores = torch.tensor([0.90, 0.95, 0.30])
    assert non_maximum_suppression(boxes, scores, 0.5).tolist() == [1, 2]
    assert non_maximum_suppression(boxes, scores, 0.9).tolist() == [1, 0, 2]
    assert non_maximum_suppression(boxes[:0], scores[:0], 0.5).tolist() == []


def test_child_processes_have_it_too():
    code = "import sys; print(*[type(finder).__name__ for finder in sys.meta_path])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "BeforeTorchvision" in found
