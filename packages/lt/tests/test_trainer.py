"""The trainer's flags become objects, with defaults that can be turned off and contradictions that are refused."""

import re
from datetime import timedelta

import lt as L
import lt_loops
import pytest
import torch
from lt.callbacks import EarlyStopping, LineProgressBar, ModelCheckpoint, ModelSummary, Timer
from lt.demo import DigitClassifier, Digits
from lt.loggers import CSVLogger, HTMLLogger, TensorBoardLogger


def kinds(found):
    return [type(x) for x in found]


@pytest.fixture(autouse=True)
def torch_flags():
    """The process-wide switches as they were."""
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    yield
    torch.use_deterministic_algorithms(before[0])
    torch.backends.cudnn.benchmark = before[1]


def test_it_is_the_trainer_of_the_loops_with_a_fabric_as_its_engine():
    trainer = L.Trainer(accelerator="cpu", precision="bf16", max_epochs=3, limit_val_batches=0.5)
    assert isinstance(trainer, lt_loops.Trainer)
    assert isinstance(trainer.engine, L.Fabric)
    assert trainer.precision == "bf16-mixed"
    assert (trainer.max_epochs, trainer.limit_val_batches) == (3, 0.5)


def test_devices_and_a_strategy_by_name_become_a_strategy_object():
    trainer = L.Trainer(accelerator="cpu", devices=2, strategy="ddp", num_nodes=1)
    assert isinstance(trainer.strategy, L.strategies.DDPStrategy)
    assert (trainer.num_devices, trainer.num_nodes) == (2, 1)


def test_objects_are_taken_as_they_are():
    strategy, accelerator = L.strategies.DDPStrategy(), L.accelerators.CPUAccelerator()
    trainer = L.Trainer(strategy=strategy, accelerator=accelerator, devices=2)
    assert trainer.strategy is strategy
    assert trainer.accelerator is accelerator


def test_by_default_there_are_a_checkpoint_a_bar_a_summary_and_three_loggers(tmp_path):
    trainer = L.Trainer(default_root_dir=tmp_path)
    assert {ModelCheckpoint, LineProgressBar, ModelSummary} == set(kinds(trainer.callbacks))
    assert kinds(trainer.loggers) == [TensorBoardLogger, CSVLogger, HTMLLogger]
    assert list(tmp_path.iterdir()) == []


def test_each_default_can_be_turned_off():
    off = {"enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = L.Trainer(**off, logger=False)
    assert (trainer.callbacks, trainer.loggers) == ([], [])


def test_ones_own_take_the_place_of_the_defaults():
    own = [ModelCheckpoint(monitor="loss"), LineProgressBar(), ModelSummary(max_depth=2)]
    assert set(L.Trainer(callbacks=own).callbacks) == set(own)


def test_callbacks_and_loggers_may_be_single_and_may_be_named(tmp_path):
    stopping = EarlyStopping("loss")
    assert stopping in L.Trainer(callbacks=stopping).callbacks
    trainer = L.Trainer(callbacks="ModelSummary", logger="csv", default_root_dir=tmp_path)
    assert kinds(trainer.callbacks).count(ModelSummary) == 1
    assert kinds(trainer.loggers) == [CSVLogger]
    assert trainer.logger.save_dir == str(tmp_path)


@pytest.mark.parametrize("max_time", ["00:00:01:30", timedelta(seconds=90), {"minutes": 1, "seconds": 30}])
def test_max_time_becomes_a_timer(max_time):
    [timer] = [cb for cb in L.Trainer(max_time=max_time).callbacks if isinstance(cb, Timer)]
    assert timer.time_remaining() == 90


def test_a_dry_run_writes_nothing_and_takes_one_batch(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trainer = L.Trainer(fast_dev_run=True)
    trainer.fit(DigitClassifier(width=2), datamodule=Digits())
    assert (trainer.global_step, trainer.current_epoch) == (1, 1)
    assert list(tmp_path.iterdir()) == []


def test_barebones_is_the_loop_and_nothing_else(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    model = DigitClassifier(width=2)
    model.configure_callbacks = list
    trainer = L.Trainer(barebones=True, max_epochs=1, limit_train_batches=3)
    trainer.fit(model, datamodule=Digits())
    assert trainer.global_step == 3
    assert (trainer.loggers, trainer.num_sanity_val_steps, trainer.callback_metrics) == ([], 0, {})
    assert list(tmp_path.iterdir()) == []
    assert "Trained" not in capsys.readouterr().out


@pytest.mark.parametrize("flag", ["logger", "enable_checkpointing", "enable_progress_bar", "detect_anomaly"])
def test_barebones_refuses_what_it_turns_off(flag):
    with pytest.raises(ValueError, match=rf"`barebones=True` turns everything off, and `{flag}=True` asks"):
        L.Trainer(barebones=True, **{flag: True})


def test_flags_that_contradict_a_callback_are_refused():
    with pytest.raises(ValueError, match="`enable_checkpointing=False` and a checkpoint callback contradict"):
        L.Trainer(enable_checkpointing=False, callbacks=[ModelCheckpoint()])
    with pytest.raises(ValueError, match="1 progress bars among the callbacks"):
        L.Trainer(enable_progress_bar=False, callbacks=[LineProgressBar()])
    with pytest.raises(ValueError, match="2 progress bars among the callbacks"):
        L.Trainer(callbacks=[LineProgressBar(), LineProgressBar()])


def test_deterministic_and_benchmark_set_torchs_switches():
    L.Trainer(benchmark=True)
    assert torch.backends.cudnn.benchmark
    L.Trainer(deterministic="warn")
    assert torch.is_deterministic_algorithms_warn_only_enabled()
    assert not torch.backends.cudnn.benchmark
    with pytest.raises(ValueError, match="`deterministic` got 'yes'"):
        L.Trainer(deterministic="yes")


def test_a_list_of_loaders_is_combined():
    data = Digits()
    data.setup("fit")
    data.train_dataloader, plain = lambda: [plain(), plain()], data.train_dataloader

    class Both(DigitClassifier):
        def training_step(self, batch, batch_idx):
            return super().training_step(batch[0], batch_idx) + super().training_step(batch[1], batch_idx)

    trainer = L.Trainer(fast_dev_run=2)
    trainer.fit(Both(width=2), datamodule=data)
    assert trainer.global_step == 2


def test_a_fit_ends_by_saying_what_was_reached_and_where_everything_is(tmp_path, capsys):
    trainer = L.Trainer(max_epochs=1, limit_train_batches=2, default_root_dir=tmp_path)
    trainer.fit(DigitClassifier(width=2), datamodule=Digits())
    reached, time, best, last, logs, curves = capsys.readouterr().out.splitlines()[-6:]
    assert reached.startswith("Trained 2 steps to epoch 1 in ")
    assert "val_loss " in reached
    told = r"Time: set-up \d+ %, validation .* %, data \d+ %, steps and all else \d+ %(; numbers.* times)?"
    assert re.fullmatch(told, time)
    assert str(trainer.checkpoint_callback.best_model_path) in best
    assert last.startswith("Last checkpoint: ")
    assert logs == f"Logs: {trainer.log_dir}"
    assert curves == f"Curves: {trainer.log_dir}/report.html"
