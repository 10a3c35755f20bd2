import pytest
from lt_interfaces import CheckpointError, CorruptCheckpoint, MisconfigurationException, UnsafeCheckpoint


@pytest.mark.parametrize(
    ("error", "builtin"),
    [(MisconfigurationException, ValueError), (CheckpointError, RuntimeError), (CorruptCheckpoint, CheckpointError)],
)
def test_each_error_is_a_builtin_one_underneath(error, builtin):
    with pytest.raises(builtin, match="the fact"):
        raise error("the fact")


def test_an_unsafe_file_is_not_called_corrupt():
    assert not issubclass(UnsafeCheckpoint, CorruptCheckpoint)
