from lt_cli.failures import is_deliberate, packages_of

HERE = __name__.partition(".")[0]


def caught(function):
    try:
        function()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def refuse():
    raise ValueError("`x` must be 1. Use 1.")


def stumble():
    return int("x")


def test_a_raise_statement_of_the_package_is_deliberate():
    assert is_deliberate(caught(refuse), {HERE})


def test_an_accident_is_not_deliberate():
    assert not is_deliberate(caught(stumble), {HERE})


def test_an_error_out_of_other_code_is_not_deliberate():
    assert not is_deliberate(caught(refuse), {"another_package"})


def test_other_code_on_the_way_asks_for_the_traceback():
    space = {"__name__": "user_code", "refuse": refuse}
    exec("def hook():\n    refuse()", space)
    error = caught(space["hook"])
    assert not is_deliberate(error, {HERE})
    assert is_deliberate(error, {HERE}, through_others=True)


def test_packages_are_those_of_all_bases():
    from argparse import ArgumentParser

    class Mine(ArgumentParser):
        pass

    assert packages_of(Mine, None) == {HERE, "argparse"}
