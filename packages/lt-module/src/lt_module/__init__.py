"""LightningModule: hooks, hyperparameters, optimizers and the front end of logging."""

from lt_module.attribute_dict import AttributeDict
from lt_module.gradient_norm import grad_norm
from lt_module.hyperparameters import HyperparametersMixin
from lt_module.init_arguments import instantiate
from lt_module.module import LightningModule

__version__ = "0.1.0"

__all__ = ["AttributeDict", "HyperparametersMixin", "LightningModule", "grad_norm", "instantiate"]
