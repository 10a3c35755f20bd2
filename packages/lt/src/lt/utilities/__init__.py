"""Small things around training, from the packages they live in."""

from lt_accel import isolate_rng as isolate_rng
from lt_data import CombinedLoader as CombinedLoader
from lt_interfaces import MisconfigurationException as MisconfigurationException
from lt_interfaces import rank_zero_info as rank_zero_info
from lt_interfaces import rank_zero_only as rank_zero_only
from lt_interfaces import rank_zero_warn as rank_zero_warn
from lt_module import AttributeDict as AttributeDict
from lt_module import grad_norm as grad_norm

__all__ = [
    "AttributeDict",
    "CombinedLoader",
    "MisconfigurationException",
    "grad_norm",
    "isolate_rng",
    "rank_zero_info",
    "rank_zero_only",
    "rank_zero_warn",
]
