"""No secret leaves the process: not in a file of the run, not in its output, not in the bytes of a checkpoint."""

from pathlib import Path

import pytest
from programs import lt_cli, python

MODEL = """
import lt as L
from lt.demo import DigitClassifier, Digits


class SecretStr:
    def get_secret_value(self):
        return "sk-CANARY-object"


class Model(DigitClassifier):
    def __init__(self, width: int = 4, api_key: str = "sk-CANARY-default", url: str = "https://me:CANARY@host/x"):
        super().__init__(width)
        self.save_hyperparameters()
        self.save_hyperparameters({"db": {"password": "CANARY", "hosts": ["redis://:CANARY@h"]}, "note": SecretStr()})


class Data(Digits):
    def __init__(self, auth_token: str = "sk-CANARY-data"):
        super().__init__()
        self.save_hyperparameters()


if __name__ == "__main__":
    trainer = L.Trainer(accelerator="cpu", max_epochs=1, limit_train_batches=4, limit_val_batches=1)
    model = Model(api_key="sk-CANARY-given")
    trainer.fit(model, datamodule=Data())
    trainer.save_checkpoint("own.ckpt")
    print(model.hparams.api_key == "sk-CANARY-given")
"""


def found_in(folder: Path) -> list[str]:
    """The files with a canary, but for the program itself."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")]
    assert len(files) > 3
    return [str(path.relative_to(folder)) for path in files if b"CANARY" in path.read_bytes()]


@pytest.mark.slow
def test_a_run_with_secrets_everywhere_writes_and_prints_none(tmp_path):
    (tmp_path / "program.py").write_text(MODEL)
    done = python("program.py", "--token", "CANARY", cwd=tmp_path, WANDB_API_KEY="CANARY-environment")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "True"
    assert "CANARY" not in done.stdout + done.stderr
    assert found_in(tmp_path) == []


@pytest.mark.slow
def test_a_run_from_the_command_line_writes_and_prints_none(tmp_path):
    (tmp_path / "program.py").write_text(MODEL)
    flags = ["--model", "program.py:Model", "--data", "program.py:Data", "--model.api_key", "sk-CANARY-flag"]
    flags += ["--data.auth_token=sk-CANARY-flag", "--model.url", "https://u:CANARY@host"]
    done = lt_cli("fit", *flags, "--max_epochs=1", "--limit_train_batches=4", "--accelerator=cpu", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "CANARY" not in done.stdout + done.stderr
    assert found_in(tmp_path) == []
