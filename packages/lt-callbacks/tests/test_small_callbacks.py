from types import SimpleNamespace

import lt_callbacks
import pytest
import torch
from lt_callbacks import (
    BasePredictionWriter,
    Callback,
    GradientAccumulationScheduler,
    LambdaCallback,
    LearningRateMonitor,
    OnExceptionCheckpoint,
)
from lt_interfaces import MisconfigurationException, is_overridden


def test_every_public_name_is_there():
    assert all(hasattr(lt_callbacks, name) for name in lt_callbacks.__all__)


def test_functions_become_hooks_and_the_others_stay_defaults():
    calls = []
    callback = LambdaCallback(on_fit_start=lambda trainer, module: calls.append(trainer))
    callback.on_fit_start("trainer", None)
    assert calls == ["trainer"]
    assert is_overridden(callback, "on_fit_start")
    assert not is_overridden(callback, "on_fit_end")


def test_a_name_that_is_no_hook_is_refused():
    with pytest.raises(TypeError, match="Did you mean `on_fit_start`"):
        LambdaCallback(on_fit_strat=print)


def test_accumulation_follows_its_schedule(trainer_of):
    seen = []
    watch = LambdaCallback(on_train_epoch_end=lambda t, m: seen.append(t.accumulate_grad_batches))
    scheduler = GradientAccumulationScheduler({2: 4, 3: 8})
    trainer = trainer_of(scheduler, watch, max_epochs=5).fit()
    assert seen == [1, 1, 4, 8, 8]
    trainer.call("teardown", "fit")
    assert trainer.accumulate_grad_batches == 1


def test_accumulation_is_set_when_a_run_resumes_within_an_epoch(trainer_of):
    trainer = trainer_of(GradientAccumulationScheduler({1: 4}), current_epoch=1).setup()
    trainer.call("on_train_start")
    assert trainer.accumulate_grad_batches == 4


@pytest.mark.parametrize("schedule", [{-1: 2}, {0: 0}, {0.5: 2}])
def test_a_wrong_schedule_is_refused(schedule):
    with pytest.raises(MisconfigurationException, match="numbers of batches from 1"):
        GradientAccumulationScheduler(schedule)


@pytest.mark.parametrize(
    "settings", [{"accumulate_grad_batches": 2}, {"module": SimpleNamespace(automatic_optimization=False)}]
)
def test_accumulation_has_one_master(trainer_of, settings):
    with pytest.raises(MisconfigurationException, match="GradientAccumulationScheduler"):
        trainer_of(GradientAccumulationScheduler({0: 2}), **settings).setup()


def rates(trainer_of, monitor, interval="step", **settings):
    parameters = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    optimizer = torch.optim.SGD([{"params": [p]} for p in parameters], lr=1.0, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    config = SimpleNamespace(scheduler=scheduler, name=None, interval=interval)
    records = []
    halve = LambdaCallback(on_train_batch_end=lambda *_: (optimizer.step(), scheduler.step()))
    trainer_of(
        halve, monitor, optimizers=[optimizer], lr_scheduler_configs=[config], loggers=[SimpleNamespace(version=0)],
        num_training_batches=4, log_every_n_steps=2, log_metrics=records.append, **settings,
    ).fit()  # fmt: skip
    return records


def test_learning_rates_are_those_that_the_logged_steps_were_taken_with(trainer_of):
    records = rates(trainer_of, LearningRateMonitor())
    assert records == [{"lr-SGD/pg1": lr, "lr-SGD/pg2": lr} for lr in (0.5, 0.125)]


def test_learning_rates_of_epochs_are_logged_at_their_start(trainer_of):
    records = rates(trainer_of, LearningRateMonitor(log_momentum=True), "epoch", max_epochs=2)
    assert [r["lr-SGD/pg1"] for r in records] == [1.0, 0.0625]
    assert records[0]["lr-SGD/pg2-momentum"] == 0.9


def test_the_interval_can_be_forced(trainer_of):
    assert len(rates(trainer_of, LearningRateMonitor("epoch"))) == 1
    assert len(rates(trainer_of, LearningRateMonitor("step"), "epoch")) == 2


def test_the_rates_of_a_run_are_kept(trainer_of):
    monitor = LearningRateMonitor()
    for _ in range(2):
        rates(trainer_of, monitor)
        assert monitor.lrs == {"lr-SGD/pg1": [0.5, 0.125], "lr-SGD/pg2": [0.5, 0.125]}


def test_each_scheduler_has_a_curve_and_then_each_optimizer_without_one(trainer_of):
    alone, scheduled = (torch.optim.SGD([{"params": [torch.zeros(1)], "name": n}], lr=0.5) for n in ("a", "b"))
    one = torch.optim.lr_scheduler.ConstantLR(scheduled)
    configs = [SimpleNamespace(scheduler=one, name=None, interval=i) for i in ("step", "epoch")]
    monitor, loggers = LearningRateMonitor(), [SimpleNamespace(version=0)]
    records = []
    trainer_of(
        monitor,
        optimizers=[alone, scheduled],
        lr_scheduler_configs=configs,
        loggers=loggers,
        log_metrics=records.append,
    ).fit()
    assert [sorted(record) for record in records[:2]] == [["lr-SGD-1/b", "lr-SGD-2/a"], ["lr-SGD-2/a", "lr-SGD/b"]]


def test_learning_rates_need_a_logger(trainer_of):
    with pytest.raises(MisconfigurationException, match="no logger"):
        trainer_of(LearningRateMonitor()).fit()


class Writer(BasePredictionWriter):
    def __init__(self, interval):
        super().__init__(interval)
        self.batches, self.epochs = [], []

    def write_on_batch_end(self, trainer, pl_module, prediction, batch_indices, batch, batch_idx, dataloader_idx):
        self.batches.append((prediction, batch_indices))

    def write_on_epoch_end(self, trainer, pl_module, predictions, batch_indices):
        self.epochs.append((predictions, batch_indices))


@pytest.mark.parametrize(
    ("interval", "batches", "epochs"),
    [("batch", [("a", [0]), ("b", [1])], []), ("epoch", [], [(["a", "b"], [[0], [1]])])],
)
def test_predictions_are_written_at_the_chosen_moments(trainer_of, interval, batches, epochs):
    writer = Writer(interval)
    trainer = trainer_of(writer, predict_loop=SimpleNamespace(batch_indices=None))
    trainer.call("on_predict_epoch_start")
    for i, prediction in enumerate("ab"):
        trainer.predict_loop.batch_indices = [i]
        trainer.call("on_predict_batch_end", prediction, None, i)
    trainer.call("on_predict_epoch_end")
    assert (writer.batches, writer.epochs) == (batches, epochs)


def test_a_writer_must_say_what_it_writes(trainer_of):
    with pytest.raises(NotImplementedError, match="write_on_batch_end"):
        trainer_of(BasePredictionWriter()).call("on_predict_batch_end", 1, None, 0)
    with pytest.raises(MisconfigurationException, match="'batch_and_epoch'"):
        BasePredictionWriter("never")


def test_an_exception_leaves_a_file_that_success_removes(trainer_of, tmp_path, files):
    trainer = trainer_of(OnExceptionCheckpoint(tmp_path), global_step=3).setup()
    trainer.call("on_exception", RuntimeError())
    trainer.call("teardown", "fit")
    assert files() == ["on_exception.ckpt"]
    trainer.setup().call("teardown", "fit")
    assert files() == []


def test_a_foreign_file_survives_success(trainer_of, tmp_path):
    (tmp_path / "on_exception.ckpt").write_text("not ours")
    trainer_of(OnExceptionCheckpoint(tmp_path)).setup().call("teardown", "fit")
    assert (tmp_path / "on_exception.ckpt").exists()


def test_checkpoint_callbacks_come_last_and_decide_on_epochs():
    assert (lt_callbacks.Checkpoint.priority, lt_callbacks.Checkpoint.decides_on_epoch) == (1, True)
    assert issubclass(lt_callbacks.Checkpoint, Callback)
