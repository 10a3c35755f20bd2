import os
from datetime import timedelta
from types import SimpleNamespace

import pytest
import torch
from lt_callbacks import LambdaCallback, ModelCheckpoint
from lt_interfaces import MisconfigurationException


def test_by_default_the_newest_epoch_is_kept(trainer_of, tmp_path, files, weights):
    saver = ModelCheckpoint()
    trainer_of(saver, max_epochs=3).fit()
    assert files() == ["checkpoints/epoch=2-step=30.ckpt"]
    assert saver.best_model_path == str(tmp_path / "checkpoints/epoch=2-step=30.ckpt")
    assert weights(saver.best_model_path) == 30


def test_the_folder_is_that_of_the_first_logger(trainer_of, tmp_path):
    logger = SimpleNamespace(name="mine", version=3, save_dir=str(tmp_path / "logs"))
    saver = ModelCheckpoint()
    trainer_of(saver, loggers=[logger]).setup()
    assert saver.dirpath == str(tmp_path / "logs/mine/version_3/checkpoints")
    logger.log_dir, saver = str(tmp_path / "here"), ModelCheckpoint()
    trainer_of(saver, loggers=[logger]).setup()
    assert saver.dirpath == str(tmp_path / "here/checkpoints")


def test_the_best_file_holds_the_weights_that_were_validated(trainer_of, tmp_path, weights):
    scores = {10: 0.5, 20: 0.2, 30: 0.4, 40: 0.3}
    saver = ModelCheckpoint(tmp_path, monitor="val_loss", every_n_train_steps=10)
    trainer_of(saver, score=scores.get, num_training_batches=40, val_check_interval=10).fit()
    assert saver.best_model_score.item() == pytest.approx(0.2)
    assert weights(saver.best_model_path) == 20


def test_a_save_between_validations_waits_for_the_next_score(trainer_of, tmp_path, weights):
    saver = ModelCheckpoint(tmp_path, monitor="val_loss", every_n_train_steps=10, save_top_k=-1)
    trainer_of(saver, num_training_batches=60, val_check_interval=15).fit()
    found = {weights(path): score.item() for path, score in saver.best_k_models.items()}
    assert found == {step: pytest.approx(1 / step) for step in (15, 30, 45, 60)}


def test_a_score_of_an_earlier_validation_is_never_used(trainer_of, tmp_path, weights):
    saver = ModelCheckpoint(tmp_path, monitor="val_loss", save_top_k=-1, save_on_train_epoch_end=True)
    trainer_of(saver, max_epochs=4, check_val_every_n_epoch=2).fit()
    assert [weights(p) for p in saver.best_k_models] == [20, 40]


def test_a_metric_of_the_training_steps_is_fresh_at_each_step(trainer_of, tmp_path, weights):
    saver = ModelCheckpoint(tmp_path, monitor="train_loss", every_n_train_steps=4, save_top_k=-1)
    trainer_of(saver, train_score=float, val_check_interval=5, num_training_batches=20).fit()
    assert {weights(p): s.item() for p, s in saver.best_k_models.items()} == {s: s for s in (4, 8, 12, 16, 20)}


def test_last_is_as_new_as_the_newest_trigger_though_the_score_did_not_improve(trainer_of, tmp_path, files, weights):
    saver = ModelCheckpoint(tmp_path, monitor="val_loss", save_last=True)
    trainer_of(saver, max_epochs=3, score=float).fit()
    assert files() == ["epoch=0-step=10.ckpt", "last.ckpt"]
    assert weights(tmp_path / "last.ckpt") == 30


def test_last_alone_is_written_at_each_trigger_and_at_the_end(trainer_of, tmp_path, files, weights):
    seen = []
    watch = LambdaCallback(on_train_batch_start=lambda *_: seen.append(files(tmp_path)))
    saver = ModelCheckpoint(tmp_path, save_top_k=0, save_last=True, every_n_train_steps=4)
    trainer = trainer_of(saver, watch, num_training_batches=18).fit()
    assert seen[4] == ["last.ckpt"]
    assert weights(tmp_path / "last.ckpt") == 18
    assert trainer.writes == ["last.ckpt"] * 5


def test_last_is_another_name_of_the_file_just_written(trainer_of, tmp_path):
    saver = ModelCheckpoint(tmp_path, monitor="val_loss", save_last=True)
    trainer = trainer_of(saver).fit()
    assert trainer.writes == ["epoch=0-step=10.ckpt"]
    assert os.path.samefile(saver.best_model_path, saver.last_model_path)


def test_the_k_best_stay_and_ties_keep_the_older(trainer_of, tmp_path, weights):
    scores = {10: 3.0, 20: 1.0, 30: 1.0, 40: 1.0, 50: float("nan")}
    saver = ModelCheckpoint(tmp_path, monitor="val_loss", save_top_k=2)
    trainer_of(saver, max_epochs=5, score=scores.get).fit()
    assert sorted(weights(p) for p in tmp_path.glob("*.ckpt")) == [20, 30]
    assert weights(saver.best_model_path) == 20


def test_nan_is_worse_than_any_number(trainer_of, tmp_path, weights):
    scores = {10: float("nan"), 20: 5.0}
    saver = ModelCheckpoint(tmp_path, monitor="val_loss", mode="max")
    trainer_of(saver, max_epochs=2, score=scores.get).fit()
    assert [weights(p) for p in tmp_path.glob("*.ckpt")] == [20]


def test_a_file_is_deleted_after_its_successor_is_complete(trainer_of, tmp_path, files):
    saver, seen = ModelCheckpoint(tmp_path), []
    trainer = trainer_of(saver, max_epochs=2)
    remove = trainer.remove_checkpoint
    trainer.remove_checkpoint = lambda path: (seen.append(files(tmp_path)), remove(path))
    trainer.fit()
    assert seen == [["epoch=0-step=10.ckpt", "epoch=1-step=20.ckpt"]]


def test_a_failed_write_leaves_the_former_file_and_the_former_state(trainer_of, tmp_path, files):
    def fail(*_):
        raise OSError("No space left on device")

    saver = ModelCheckpoint(tmp_path)
    trainer = trainer_of(saver).fit()
    trainer.save_checkpoint, trainer.max_epochs = fail, 2
    with pytest.raises(OSError, match="No space"):
        trainer.fit()
    assert files(tmp_path) == ["epoch=0-step=10.ckpt"]
    assert saver.best_model_path == str(tmp_path / "epoch=0-step=10.ckpt")


def test_the_file_that_the_run_resumed_from_stays(trainer_of, tmp_path, files, weights):
    first = ModelCheckpoint(tmp_path)
    trainer_of(first).fit()
    trainer_of(ModelCheckpoint(tmp_path), ckpt_path=first.best_model_path, max_epochs=3).fit()
    assert files() == ["epoch=0-step=10.ckpt", "epoch=2-step=30.ckpt"]


def test_a_constant_name_does_not_overwrite_the_file_resumed_from(trainer_of, tmp_path, weights):
    first = ModelCheckpoint(tmp_path, filename="model")
    trainer_of(first, max_epochs=2).fit()
    second = ModelCheckpoint(tmp_path, filename="model")
    trainer_of(second, ckpt_path=first.best_model_path, max_epochs=4).fit()
    assert weights(tmp_path / "model.ckpt") == 20
    assert weights(tmp_path / "model-v1.ckpt") == 40


def test_a_resumed_run_goes_on_ranking(trainer_of, tmp_path, weights):
    scores = {10: 0.1, 20: 0.5, 30: 0.4}
    settings = {"monitor": "val_loss", "save_last": True}
    first = ModelCheckpoint(tmp_path, **settings)
    trainer_of(first, max_epochs=2, score=scores.get).fit()
    second = ModelCheckpoint(tmp_path, **settings)
    trainer_of(second, ckpt_path=first.last_model_path, max_epochs=3, score=scores.get).fit()
    assert weights(second.best_model_path) == 10
    assert weights(tmp_path / "last.ckpt") == 30


def test_what_a_killed_save_replaced_is_deleted_when_the_run_goes_on(trainer_of, tmp_path, files):
    first = ModelCheckpoint(tmp_path)
    killed = trainer_of(first, max_epochs=2)
    killed.remove_checkpoint = lambda path: None
    killed.fit()
    assert files() == ["epoch=0-step=10.ckpt", "epoch=1-step=20.ckpt"]
    trainer_of(ModelCheckpoint(tmp_path), ckpt_path=first.best_model_path, max_epochs=3).fit()
    assert files() == ["epoch=1-step=20.ckpt", "epoch=2-step=30.ckpt"]


def test_a_last_that_a_kill_left_behind_is_written_at_the_end(trainer_of, tmp_path, weights):
    first = ModelCheckpoint(tmp_path, save_last="link")
    killed = trainer_of(first)
    killed.link_checkpoint = lambda source, target: None
    killed.fit()
    trainer_of(ModelCheckpoint(tmp_path, save_last="link"), ckpt_path=first.best_model_path).fit()
    assert weights(tmp_path / "last.ckpt") == 10


def test_a_resumed_run_forgets_files_that_are_gone(trainer_of, tmp_path, weights):
    first = ModelCheckpoint(tmp_path, monitor="val_loss", save_last=True)
    trainer_of(first).fit()
    os.remove(first.best_model_path)
    second = ModelCheckpoint(tmp_path, monitor="val_loss", save_last=True)
    trainer_of(second, ckpt_path=first.last_model_path, max_epochs=2, score=lambda step: 9.0).fit()
    assert weights(second.best_model_path) == 20


def test_another_folder_starts_a_new_ranking_and_says_so(trainer_of, tmp_path, files):
    first = ModelCheckpoint(tmp_path / "a", monitor="val_loss")
    trainer_of(first).fit()
    second = ModelCheckpoint(tmp_path / "b", monitor="val_loss")
    with pytest.warns(UserWarning, match="Give the same `dirpath`"):
        trainer_of(second, ckpt_path=first.best_model_path, max_epochs=2).fit()
    assert files() == ["a/epoch=0-step=10.ckpt", "b/epoch=1-step=20.ckpt"]


def test_foreign_files_are_neither_overwritten_nor_deleted(trainer_of, tmp_path, files):
    for name in ("epoch=0-step=10.ckpt", "last.ckpt"):
        (tmp_path / name).write_text("not ours")
    trainer_of(ModelCheckpoint(tmp_path, save_last=True), max_epochs=2).fit()
    assert (tmp_path / "epoch=0-step=10.ckpt").read_text() == (tmp_path / "last.ckpt").read_text() == "not ours"
    assert files() == ["epoch=0-step=10.ckpt", "epoch=1-step=20.ckpt", "last-v1.ckpt", "last.ckpt"]


def test_a_state_cannot_name_files_elsewhere_for_deletion(trainer_of, tmp_path):
    (outside := tmp_path / "outside.ckpt").write_text("not ours")
    saver = ModelCheckpoint(tmp_path / "run", monitor="val_loss")
    trainer = trainer_of(saver).setup()
    saver.load_state_dict({"dirpath": saver.dirpath, "best_k_models": {str(outside): torch.tensor(9.0)}})
    trainer.epoch()
    assert list(saver.best_k_models) == [str(tmp_path / "run/epoch=0-step=10.ckpt")]
    assert outside.exists()


def test_a_missing_monitor_fails_at_the_first_validation_with_the_nearest_name(trainer_of, tmp_path):
    saver = ModelCheckpoint(tmp_path, monitor="val_lss", every_n_epochs=10)
    with pytest.raises(MisconfigurationException, match=r"exist are `val_loss`\. Did you mean `val_loss`"):
        trainer_of(saver, val_check_interval=0.5).fit()


def test_a_missing_monitor_fails_at_the_end_of_the_epoch_without_validation(trainer_of, tmp_path):
    saver = ModelCheckpoint(tmp_path, monitor="loss")
    with pytest.raises(MisconfigurationException, match=r"No metric exists\. Log it with"):
        trainer_of(saver, num_val_batches=[]).fit()


def test_a_metric_of_the_epoch_may_be_logged_after_validation(trainer_of, tmp_path, weights):
    log = LambdaCallback(on_train_epoch_end=lambda t, _: t.callback_metrics.update(epoch_loss=torch.tensor(0.5)))
    saver = ModelCheckpoint(tmp_path, monitor="epoch_loss", every_n_train_steps=5)
    trainer_of(log, saver).fit()
    assert weights(saver.best_model_path) == 10


def test_a_metric_that_a_second_run_does_not_log_is_named(trainer_of, tmp_path):
    saver = ModelCheckpoint(tmp_path, monitor="train_loss")
    trainer_of(saver, train_score=float).fit()
    with pytest.raises(MisconfigurationException, match="monitors `train_loss`, which was not logged"):
        trainer_of(saver).fit()


def test_the_current_score_is_that_of_the_newest_scored_file(trainer_of, tmp_path):
    saver = ModelCheckpoint(tmp_path, monitor="val_loss", save_last=True)
    trainer_of(saver, max_epochs=3, score=float).fit()
    assert saver.current_score.item() == saver.best_model_score.item() == 10


def test_weights_are_saved_in_the_end_if_validation_never_ran(trainer_of, tmp_path, weights):
    saver = ModelCheckpoint(tmp_path, monitor="val_loss", every_n_train_steps=5)
    with pytest.warns(UserWarning, match="saved without a score"):
        trainer_of(saver, check_val_every_n_epoch=9).fit()
    assert weights(saver.best_model_path) == 10


@pytest.mark.parametrize("skip", ["fast_dev_run", "sanity_checking"])
def test_nothing_is_saved_in_a_dry_run_or_a_sanity_check(trainer_of, tmp_path, files, skip):
    trainer = trainer_of(ModelCheckpoint(tmp_path, save_top_k=-1), global_step=5, **{skip: True})
    trainer.setup().validate()
    assert files() == []


def test_a_validation_outside_fit_saves_nothing(trainer_of, tmp_path, files):
    trainer_of(ModelCheckpoint(tmp_path, save_on_train_epoch_end=False), global_step=5).setup("validate").validate()
    assert files() == []


def test_two_moments_at_the_same_step_save_once(trainer_of, tmp_path):
    trainer = trainer_of(ModelCheckpoint(tmp_path, every_n_train_steps=5, save_top_k=-1), val_check_interval=5).fit()
    assert trainer.writes == ["epoch=0-step=5.ckpt", "epoch=0-step=10.ckpt"]


def test_a_step_reached_after_the_last_batch_of_an_epoch_counts(trainer_of, tmp_path):
    trainer = trainer_of(ModelCheckpoint(tmp_path, every_n_train_steps=3)).setup()
    trainer.global_step = 3
    trainer.call("on_train_epoch_end")
    assert trainer.writes == ["epoch=0-step=3.ckpt"]


def test_time_intervals_save_whatever_steps_the_optimizers(trainer_of, tmp_path):
    saver = ModelCheckpoint(tmp_path, train_time_interval=timedelta(microseconds=1), save_top_k=-1)
    trainer = trainer_of(saver, num_training_batches=3, module=SimpleNamespace(automatic_optimization=False)).fit()
    assert trainer.writes == [f"epoch=0-step={i}.ckpt" for i in (1, 2, 3)]


def test_every_n_epochs_counts_epochs_from_one(trainer_of, tmp_path):
    trainer = trainer_of(ModelCheckpoint(tmp_path, every_n_epochs=2, save_top_k=-1), max_epochs=5).fit()
    assert trainer.writes == ["epoch=1-step=20.ckpt", "epoch=3-step=40.ckpt"]


def test_keeping_all_keeps_files_of_one_name_apart(trainer_of, tmp_path, files):
    trainer_of(ModelCheckpoint(tmp_path, filename="m", save_top_k=-1), max_epochs=3).fit()
    assert files() == ["m-v1.ckpt", "m-v2.ckpt", "m.ckpt"]


def test_the_version_counter_can_be_switched_off(trainer_of, tmp_path, files):
    saver = ModelCheckpoint(tmp_path, filename="m", save_top_k=-1, enable_version_counter=False)
    trainer_of(saver, max_epochs=3).fit()
    assert files() == ["m.ckpt"]


def test_an_exception_saves_the_newest_weights(trainer_of, tmp_path, weights):
    saver = ModelCheckpoint(tmp_path, save_on_exception=True, save_last=True, monitor="val_loss")
    trainer = trainer_of(saver).setup()
    trainer.global_step = 7
    trainer.call("on_exception", RuntimeError("mine"))
    assert weights(tmp_path / "epoch=0-step=7.ckpt") == weights(tmp_path / "last.ckpt") == 7
    assert saver.best_model_path == ""


def test_an_error_on_one_of_several_ranks_saves_nothing(trainer_of, tmp_path, files):
    trainer = trainer_of(ModelCheckpoint(tmp_path, save_on_exception=True), world_size=2, global_step=7).setup()
    trainer.call("on_exception", RuntimeError("mine"))
    assert files() == []
    trainer.call("on_exception", SystemExit(143))
    assert files() == ["epoch=0-step=7.ckpt"]


def test_loggers_hear_of_each_save(trainer_of, tmp_path):
    told = []
    logger = SimpleNamespace(name="n", version=0, after_save_checkpoint=told.append)
    saver = ModelCheckpoint(tmp_path)
    trainer_of(saver, loggers=[logger], max_epochs=2).fit()
    assert told == [saver, saver]


def test_the_key_of_the_state_names_what_was_chosen():
    assert ModelCheckpoint(monitor="a", every_n_train_steps=5).state_key == (
        "ModelCheckpoint{'monitor': 'a', 'mode': 'min', 'every_n_train_steps': 5, 'every_n_epochs': 0, "
        "'train_time_interval': None}"
    )


def test_the_state_is_plain_data(trainer_of, tmp_path):
    saver = ModelCheckpoint(tmp_path, monitor="val_loss", save_top_k=2)
    trainer_of(saver, max_epochs=2).fit()
    torch.save(saver.state_dict(), tmp_path / "state")
    assert torch.load(tmp_path / "state", weights_only=True)["best_k_models"] == saver.best_k_models


def test_the_ranking_can_be_written_for_people(trainer_of, tmp_path):
    saver = ModelCheckpoint(tmp_path, monitor="val_loss")
    trainer_of(saver, score=lambda step: 0.5).fit()
    saver.to_yaml()
    assert (tmp_path / "best_k_models.yaml").read_text() == f'"{saver.best_model_path}": 0.5\n'


@pytest.mark.parametrize(
    "arguments",
    [
        {"save_top_k": -2},
        {"save_top_k": 3},
        {"mode": "best"},
        {"every_n_epochs": 1, "every_n_train_steps": 1},
        {"every_n_epochs": -1},
        {"save_last": "copy"},
        {"filename": "../{epoch}"},
        {"filename": "{epoch:zz}"},
    ],
)
def test_wrong_arguments_are_refused(arguments):
    with pytest.raises(ValueError, match="`"):
        ModelCheckpoint(**arguments)
