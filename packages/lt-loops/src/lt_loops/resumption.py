"""What each process of a run must remember beyond Lightning's keys, so that training goes on bit for bit."""

from typing import Any

import lt_checkpoint
from lt_interfaces import Stage, rank_zero_warn
from torch import nn

from lt_loops import metric_states, rng
from lt_loops.entry import is_metric
from lt_loops.parcel import Parcel
from lt_loops.regrouping import Regrouping, order_seeds

WITHIN = ("batch", "ready", "validation")
"""Where training may stand between two batches of an epoch."""
OWING = ("batch", "validation", "closing", "epoch_end", "decided")
"""Where something has to follow before the next batch or epoch."""


def capture(trainer: Any) -> dict[str, Any]:
    """Position and generators, what ranks have each for itself under "ranks"; every rank must call."""
    fit, data, progress = trainer.fit_loop, trainer.fit_loop.data, trainer.progress
    mine = lt_checkpoint.plain(_of_this_rank(trainer), where="lt")
    if trainer.world_size == 1:
        ranks = [mine]
    else:
        ranks = [parcel.content for parcel in trainer.engine.all_gather(Parcel(mine))]
    return {
        "at": fit.at,
        "epoch": progress.epoch,
        "step": progress.step,
        "batch": progress.batch,
        "window": progress.window,
        "batches_before": fit.batches_before,
        "stepped": fit.stepped,
        "validated": _has_validated_here(trainer),
        "left_out": sorted(data.left_out),
        "order_seeds": order_seeds(data.loader),
        "regrouping": None if data.regrouping is None else data.regrouping.state_dict(),
        "regrouped_from": data.regrouped_from,
        "history": list(trainer.history),
        "ranks": ranks,
    }


def _of_this_rank(trainer: Any) -> dict[str, Any]:
    fit, data = trainer.fit_loop, trainer.fit_loop.data
    now = rng.capture(data.feed.generators)
    begun = fit.metric_counts if trainer.stage == Stage.VALIDATE and not _has_validated_here(trainer) else None
    return {
        "rng": now if fit.training_rng is None else {**now, **fit.training_rng, "own": now["own"]},
        "epoch_rng": data.epoch_rng,
        "validation": trainer.validate_loop.state_dict(),
        "feed": data.feed.state_dict(within_epoch=fit.at in WITHIN),
        "gathered": {} if fit.optimization is None else fit.optimization.gathered(),
        "records": trainer.recorder.state_dict({id(m): name for name, m in _metrics(trainer.module).items()}),
        "metrics": metric_states.capture(trainer.module, begun),
    }


def _has_validated_here(trainer: Any) -> bool:
    if trainer.stage == Stage.VALIDATE:
        return bool(trainer.validate_loop.over)
    return bool(trainer.fit_loop.validation.is_here())


def _metrics(module: Any) -> dict[str, Any]:
    """Metric objects of a module by name, also those that are no modules themselves."""
    found = {name: value for name, value in vars(module).items() if is_metric(value)}
    if isinstance(module, nn.Module):
        found |= {name: part for name, part in module.named_modules() if is_metric(part)}
    return found


def restore(trainer: Any, own: dict[str, Any]) -> None:
    """Stand where the checkpoint was written; what belongs to the epoch's data waits until that is there."""
    fit, data, progress, ranks = trainer.fit_loop, trainer.fit_loop.data, trainer.progress, own["ranks"]
    progress.epoch, progress.step = own["epoch"], own["step"]
    progress.batch, progress.window = own["batch"], own["window"]
    fit.at, fit.stepped = own["at"], own["stepped"]
    fit.batch_idx = progress.batch - 1
    fit.batches_before = own.get("batches_before", 0)
    data.left_out = {tuple(place) for place in own.get("left_out", ())}
    trainer.history = list(own.get("history", ()))
    if own["validated"]:
        fit.validation.at = (progress.epoch, progress.batch)
    data.order_seeds = own.get("order_seeds", [])
    data.regrouping = Regrouping.of(own["regrouping"]) if own.get("regrouping") else None
    data.regrouped_from = own.get("regrouped_from", 0)
    if len(ranks) != trainer.world_size:
        mine = _for_another_number(trainer, ranks)
    else:
        mine = ranks[trainer.global_rank]
    data.epoch_rng, fit.resumed = mine["epoch_rng"], mine
    fit.optimization.continue_window(mine["gathered"])
    metric_states.restore(trainer.module, mine["metrics"])


def _for_another_number(trainer: Any, ranks: list[Any]) -> dict[str, Any]:
    """The epoch's samples that are left are dealt out anew; what ranks had each for itself is given up."""
    data, progress, then = trainer.fit_loop.data, trainer.progress, len(ranks)
    behind, progress.window = progress.batch - progress.window, 0  # an open window is trained again
    if trainer.fit_loop.at in WITHIN and progress.batch:
        if data.regrouping is None:
            seed = next(iter(data.order_seeds), None)
            data.regrouping = Regrouping(then, seed, progress.epoch, ranks[0]["epoch_rng"])
        data.regrouping.cuts.append((then, behind - data.regrouped_from))
        data.is_regrouped_now = True
        progress.batch = behind * then // trainer.world_size
    rank_zero_warn(
        f"The checkpoint is of {then} processes and there are {trainer.world_size}: training goes on with the samples "
        "of the epoch that are left, but not bit for bit, and means over this epoch start anew."
    )
    mine = ranks[trainer.global_rank % then]
    records = {**mine["records"], "entries": []}
    return {**mine, "gathered": {}, "metrics": {}, "records": records, "feed": {"workers": {}, "kept": False}}


def restore_records(trainer: Any, mine: dict[str, Any]) -> None:
    """The values that were logged so far in this epoch."""
    trainer.recorder.load_state_dict(mine["records"], _metrics(trainer.module))
