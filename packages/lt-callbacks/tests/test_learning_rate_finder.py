"""The curve of a range test, the rate it suggests, and where that goes."""

import math
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lt_callbacks import LearningRateCurve, LearningRateFinder

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")


def curve(losses, mode="exponential"):
    made = LearningRateCurve(mode, 1e-4, 1.0, len(losses))
    made.results = {"lr": [made.rate(i) for i in range(len(losses))], "loss": losses}
    return made


def falling_at(index, count=40):
    return [2.0 - math.tanh((i - index) / 2) for i in range(count)]


@given(mode=st.sampled_from(["exponential", "linear"]), steps=st.integers(2, 200))
def test_rates_rise_from_the_first_to_the_last_evenly(mode, steps):
    made = LearningRateCurve(mode, 1e-6, 2.0, steps)
    rates = torch.tensor([made.rate(i) for i in range(steps)], dtype=torch.float64)
    assert rates[0].item() == pytest.approx(1e-6)
    assert rates[-1].item() == pytest.approx(2.0)
    gaps = (rates if mode == "linear" else rates.log()).diff()
    assert torch.allclose(gaps, gaps[0].expand_as(gaps))


@given(index=st.integers(14, 34))
def test_the_suggestion_is_where_the_loss_falls_most_steeply(index):
    made = curve(falling_at(index))
    assert made.suggestion() == made.results["lr"][index]


def test_points_that_are_skipped_or_not_finite_do_not_count():
    losses = falling_at(20)
    losses[3] = -50.0
    losses[-1] = math.inf
    losses[30] = math.nan
    made = curve(losses)
    assert made.suggestion() == made.results["lr"][20]
    assert made.suggestion(skip_begin=0) == pytest.approx(made.results["lr"][2])


@pytest.mark.parametrize("losses", [[], [1.0] * 12, [math.nan] * 40])
def test_too_few_points_suggest_nothing_and_say_so(losses):
    with pytest.warns(UserWarning, match="No learning rate can be suggested from"):
        assert curve(losses).suggestion() is None


def test_a_loss_that_never_falls_suggests_nothing_and_says_so():
    with pytest.warns(UserWarning, match=r"the loss fell at none of the 29 rates"):
        assert curve([float(i) for i in range(40)]).suggestion() is None


def test_the_plot_shows_the_curve_and_the_suggestion(tmp_path):
    made = curve([*falling_at(20), 1e6])
    figure = made.plot(suggest=True)
    [ax] = figure.axes
    line, point = ax.lines
    assert list(line.get_ydata()) == made.results["loss"]
    assert point.get_xdata()[0] == made.suggestion()
    assert ax.get_xscale() == "log"
    assert ax.get_ylim()[1] < 10  # what diverged goes out of the picture
    figure.savefig(tmp_path / "curve.png")
    assert made.plot(ax=ax) is figure
    matplotlib.pyplot.close(figure)


class Trainer:
    """Runs a trial whose loss is best at one rate; nothing else of a trainer."""

    def __init__(self, optimizers, best=1e-2):
        self.optimizers, self.best = optimizers, best
        self.fast_dev_run, self.world_size, self.lr_scheduler_configs = False, 1, []
        self.global_step, self.should_stop, self.configured = 0, False, 0

    def trial(self, steps, callbacks):
        loss = 2.0
        for i in range(steps):
            callbacks.on_train_batch_start(self, None, None, i)
            rate = self.optimizers[0].param_groups[0]["lr"]
            loss = loss * (0.9 if rate < self.best else 3.0)
            self.global_step += 1
            callbacks.on_train_batch_end(self, None, {"loss": torch.tensor(loss)}, None, i)
            if self.should_stop:
                break

    def set_up_optimizers(self):
        self.configured += 1


def optimizer(lr=0.5):
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)


def test_the_rate_that_is_found_is_set_everywhere():
    module = SimpleNamespace(learning_rate=0.5, hparams={"learning_rate": 0.5})
    trainer, finder = Trainer([optimizer()]), LearningRateFinder(1e-4, 1.0, num_training_steps=50)
    finder.on_fit_start(trainer, module)
    assert 1e-4 < finder.optimal_lr.suggestion() < 1e-2
    assert module.learning_rate == module.hparams["learning_rate"] == finder.optimal_lr.suggestion()
    assert trainer.configured == 1
    assert len(finder.optimal_lr.results["lr"]) < 50  # it ended when the loss diverged


def test_a_rate_kept_deeper_is_reached_by_dots():
    module = SimpleNamespace(options=SimpleNamespace(rate=0.5))
    LearningRateFinder(1e-4, 1.0, 50, attr_name="options.rate").lr_find(Trainer([optimizer()]), module)
    assert module.options.rate < 1e-2


def test_schedulers_that_exist_go_on_from_the_rate():
    made = optimizer()
    scheduler = torch.optim.lr_scheduler.StepLR(made, 1)
    trainer, module = Trainer([made]), SimpleNamespace(lr=0.5)
    trainer.lr_scheduler_configs = [SimpleNamespace(scheduler=scheduler)]
    LearningRateFinder(1e-4, 1.0, 50).lr_find(trainer, module)
    assert scheduler.base_lrs == [module.lr] == [made.param_groups[0]["lr"]] == [made.param_groups[0]["initial_lr"]]


def test_looking_only_sets_nothing():
    module = SimpleNamespace()
    finder = LearningRateFinder(1e-4, 1.0, 50, update_attr=False)
    finder.on_fit_start(Trainer([optimizer()]), module)
    assert finder.optimal_lr.suggestion() < 1e-2
    assert vars(module) == {}


def test_a_resumed_run_takes_the_rate_that_it_had():
    finder = LearningRateFinder(1e-4, 1.0, 50)
    finder.on_fit_start(Trainer([optimizer()]), SimpleNamespace(lr=0.5))
    resumed, trainer, module = LearningRateFinder(), Trainer([optimizer()]), SimpleNamespace(lr=0.5)
    resumed.load_state_dict(finder.state_dict())
    resumed.on_fit_start(trainer, module)
    assert module.lr == finder.optimal_lr.suggestion()
    assert (trainer.global_step, trainer.configured) == (0, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "exponental"}, "Did you mean `exponential`"),
        ({"min_lr": 1.0, "max_lr": 0.1}, "`min_lr=1.0` and `max_lr=0.1` span nothing"),
        ({"num_training_steps": 0}, "must be at least 1, got 0"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        LearningRateFinder(**arguments)


def test_a_module_without_a_rate_is_refused_before_anything_runs():
    with pytest.raises(AttributeError, match=r"`SimpleNamespace` has no `lr` and no `learning_rate`"):
        LearningRateFinder().setup(Trainer([]), SimpleNamespace(), "fit")


def test_several_optimizers_are_refused():
    with pytest.raises(ValueError, match="returned 2 optimizers"):
        LearningRateFinder().lr_find(Trainer([optimizer(), optimizer()]), SimpleNamespace(lr=1.0))
