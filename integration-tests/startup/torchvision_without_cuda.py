"""Lets torchvision's CUDA wheel be imported beside a torch without CUDA; a stand-in for tests, nothing more.

The wheel's compiled operators cannot load there, so they are declared here, with `nms` written in Python. No test that
runs with this says anything about torchvision's own operators.
"""

import importlib.abc
import importlib.machinery
import sys


class BeforeTorchvision(importlib.abc.MetaPathFinder):
    """Declares the operators when torchvision is first asked for, and no sooner: torch itself is slow to import."""

    library = None  # torch forgets the declarations when this object goes

    def find_spec(self, name, path=None, target=None):
        if name == "torchvision" and self.library is None:
            self.declare_operators()
        if name != "torchvision.ops.boxes" or self.library is None:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        run = spec.loader.exec_module

        def run_and_trust_operators(module):
            run(module)
            module._assert_has_ops = lambda: None

        spec.loader.exec_module = run_and_trust_operators
        return spec

    def declare_operators(self):
        import torch

        if torch.version.cuda is None:
            self.library = torch.library.Library("torchvision", "DEF")
            for name in ("nms", "qnms"):
                self.library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            self.library.impl("nms", non_maximum_suppression, "CPU")


def non_maximum_suppression(boxes, scores, iou_threshold):
    """Indices of the boxes that overlap no better-scored kept box by more than the threshold, best first."""
    import torch

    order = scores.argsort(descending=True, stable=True)
    corners = boxes[order].double()
    areas = (corners[:, 2:] - corners[:, :2]).prod(1)
    low = torch.maximum(corners[:, None, :2], corners[None, :, :2])
    high = torch.minimum(corners[:, None, 2:], corners[None, :, 2:])
    shared = (high - low).clamp(min=0).prod(2)
    clashes = shared / (areas[:, None] + areas[None, :] - shared) > iou_threshold
    kept = torch.ones(len(order), dtype=torch.bool)
    for i in range(len(order)):
        if kept[i]:
            kept[i + 1 :] &= ~clashes[i, i + 1 :]
    return order[kept]


def install():
    if not any(isinstance(finder, BeforeTorchvision) for finder in sys.meta_path):
        sys.meta_path.insert(0, BeforeTorchvision())
