import pytest
from lt_module import instantiate


class Net:
    def __init__(self, width, depth=2, *sizes, bias=True):
        self.got = (width, depth, sizes, bias)


class Open:
    def __init__(self, width, /, **kwargs):
        self.got = (width, kwargs)


class Whole:
    def __init__(self, config, extra=None):
        self.got = (config, extra)


def test_saved_values_are_filtered_to_what_the_class_takes():
    assert instantiate(Net, {"width": 1, "bias": False, "unrelated": 3}).got == (1, 2, (), False)


def test_overrides_beat_saved_values():
    assert instantiate(Net, {"width": 1}, overrides={"width": 5, "depth": 6}).got == (5, 6, (), True)


def test_variadic_and_positional_only_arguments_go_back_by_position():
    assert instantiate(Net, {"width": 1, "sizes": [7, 8]}).got == (1, 2, (7, 8), True)
    assert instantiate(Open, {"width": 1, "other": 2}).got == (1, {"other": 2})


def test_one_object_of_all_hyperparameters_goes_back_as_one_object():
    config, extra = instantiate(Whole, {"lr": 0.1, "n": 3}, "config", {"n": 4, "extra": "x"}).got
    assert (config.lr, config["n"], extra) == (0.1, 4, "x")


def test_a_name_that_is_no_argument_means_keywords():
    assert instantiate(Net, {"width": 1}, "kwargs").got[0] == 1


def test_names_of_code_in_a_file_are_not_even_passed_on():
    assert instantiate(Open, {"width": 1, "_instantiator": "os.system", "_class_path": "x.Y"}).got == (1, {})


def test_a_missing_argument_is_named_with_its_remedy():
    with pytest.raises(TypeError, match=r"`Net` needs `width`.*Pass width=\.\.\."):
        instantiate(Net, {})


def test_an_override_that_fits_nowhere_is_an_error():
    with pytest.raises(TypeError, match=r"no argument `widht`\. Did you mean `width`"):
        instantiate(Net, {"width": 1}, overrides={"widht": 2})
