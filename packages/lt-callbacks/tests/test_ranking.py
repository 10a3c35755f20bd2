import math

import torch
from hypothesis import given
from hypothesis import strategies as st
from lt_callbacks import ModelCheckpoint
from lt_callbacks.ranking import best, worst

SCORES = st.lists(st.one_of(st.integers(-3, 3).map(float), st.just(math.nan)), min_size=1, max_size=12)


@given(SCORES, st.integers(1, 5), st.sampled_from(["min", "max"]))
def test_the_kept_files_are_the_first_k_of_a_stable_sort(scores, k, mode):
    saver = ModelCheckpoint("/d", monitor="m", save_top_k=k, mode=mode)
    worst_score = math.inf if mode == "min" else -math.inf
    for i, score in enumerate(scores):
        value = torch.tensor(worst_score if math.isnan(score) else score)
        if saver.check_monitor_top_k(None, value):
            saver._keep(str(i), value, saver.kth_best_model_path)
    sign = 1 if mode == "min" else -1
    order = sorted(range(len(scores)), key=lambda i: math.inf if math.isnan(scores[i]) else sign * scores[i])
    assert sorted(map(int, saver.best_k_models)) == sorted(order[:k])
    assert saver.best_model_path == str(order[0])


def test_of_equal_scores_the_oldest_is_best_and_the_newest_worst():
    models = {path: torch.tensor(1.0) for path in "abc"}
    assert (best(models, "min"), worst(models, "min")) == ("a", "c")
