"""Imported by every Python process that the tests start, since this folder is on its PYTHONPATH."""

import torchvision_without_cuda

torchvision_without_cuda.install()
