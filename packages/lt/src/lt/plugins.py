"""What `Trainer(plugins=...)` takes: precisions, cluster environments, where checkpoints go, synchronised layers."""

from lt_accel import BitsandbytesPrecision as BitsandbytesPrecision
from lt_accel import ClusterEnvironment as ClusterEnvironment
from lt_accel import DoublePrecision as DoublePrecision
from lt_accel import Float8Precision as Float8Precision
from lt_accel import HalfPrecision as HalfPrecision
from lt_accel import KubeflowEnvironment as KubeflowEnvironment
from lt_accel import LightningEnvironment as LightningEnvironment
from lt_accel import LSFEnvironment as LSFEnvironment
from lt_accel import MixedPrecision as MixedPrecision
from lt_accel import MPIEnvironment as MPIEnvironment
from lt_accel import Precision as Precision
from lt_accel import SLURMEnvironment as SLURMEnvironment
from lt_accel import TorchElasticEnvironment as TorchElasticEnvironment
from lt_accel import TorchSyncBatchNorm as TorchSyncBatchNorm
from lt_accel import TransformerEnginePrecision as TransformerEnginePrecision
from lt_checkpoint import AsyncCheckpointIO as AsyncCheckpointIO
from lt_checkpoint import CheckpointIO as CheckpointIO

TorchCheckpointIO = CheckpointIO
"""Lightning's name for the one that writes at once."""

__all__ = [
    "AsyncCheckpointIO",
    "BitsandbytesPrecision",
    "CheckpointIO",
    "ClusterEnvironment",
    "DoublePrecision",
    "Float8Precision",
    "HalfPrecision",
    "KubeflowEnvironment",
    "LSFEnvironment",
    "LightningEnvironment",
    "MPIEnvironment",
    "MixedPrecision",
    "Precision",
    "SLURMEnvironment",
    "TorchCheckpointIO",
    "TorchElasticEnvironment",
    "TorchSyncBatchNorm",
    "TransformerEnginePrecision",
]
