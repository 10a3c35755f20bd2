import json
import os
import subprocess
import sys
import zipfile

import pytest

PROGRAM = """
import sys
from lt_loggers import CometLogger
logger = CometLogger(project="digits", online={online}, offline_directory={folder!r}, prefix="run", **{config!r})
logger.log_hyperparams({{"model": {{"width": 8}}, "api_key": "CANARY", "lr": 0.1}})
logger.log_metrics({{"loss": 1.0, "epoch": 2}}, 4)
logger.log_metrics({{"loss": 0.5}})
logger.finalize("success")
print(logger.name, logger.version, logger.experiment.get_key(), type(logger.experiment).__name__)
print(CometLogger(project="digits", offline_directory={folder!r}, experiment_key="last").version)
"""
CONFIG = {"log_code": False, "log_env_details": False, "log_git_metadata": False, "log_git_patch": False}
CONFIG |= {"auto_output_logging": False, "auto_log_co2": False}


def run(code, folder, **environment):
    home = {"HOME": str(folder), "PATH": os.environ["PATH"], "COMET_LOGGING_CONSOLE": "ERROR", **environment}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=folder, env=home, timeout=120
    )


def messages(folder):
    (archive,) = folder.glob("*.zip")
    with zipfile.ZipFile(archive) as files:
        return [json.loads(line) for line in files.read("messages.json").splitlines()]


def test_records_and_hyperparameters_are_in_the_archive_on_the_step_axis(tmp_path):
    done = run(PROGRAM.format(online=False, folder=str(tmp_path), config=CONFIG), tmp_path)
    name, version, key, kind, last = done.stdout.split()
    assert (name, version, kind, last) == ("digits", key, "OfflineExperiment", version), done.stderr
    told = [message["payload"] for message in messages(tmp_path) if message["type"].endswith("metric_msg")]
    metrics = [item["metric"] for item in told if item["metric"]["metricName"] == "run-loss"]
    assert [(m["metricValue"], m["step"], m.get("epoch")) for m in metrics] == [(1.0, 4, 2), (0.5, 5, 2)]
    text = json.dumps(messages(tmp_path))
    assert "model/width" in text
    assert "CANARY" not in text


def test_without_a_key_or_a_server_the_experiment_is_kept_here(tmp_path):
    config = CONFIG | {"api_key": "c0ffee" * 5}
    code = PROGRAM.format(online=None, folder=str(tmp_path), config=config)
    done = run(code, tmp_path, COMET_URL_OVERRIDE="http://127.0.0.1:9/clientlib/")
    assert "OfflineExperiment" in done.stdout, done.stderr
    assert "Comet cannot be reached" in done.stderr
    assert "send it with `comet upload`" in done.stderr
    assert "c0ffee" not in done.stderr
    assert len(list(tmp_path.glob("*.zip"))) == 1


def test_arguments_are_checked_and_old_names_are_told():
    pytest.importorskip("comet_ml")
    code = "from lt_loggers import CometLogger\nlogger = CometLogger(project_name='p', save_dir='d', offline=True)\n"
    code += "print(logger.name, logger.save_dir)\n"
    code += "for wrong in ({'mode': 'gett'}, {'log_codes': 1}):\n    try: CometLogger(**wrong)\n"
    code += "    except (TypeError, ValueError) as error: print(error)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.startswith("p d\n"), done.stderr
    assert "Did you mean `get`" in done.stdout
    assert "Did you mean `log_code`" in done.stdout
    for old in ("project_name", "offline"):
        assert f"`CometLogger({old}=...)` is called" in done.stderr


def test_without_comet_the_command_that_installs_it_is_named():
    code = "import sys; sys.modules['comet_ml'] = None\nfrom lt_loggers import CometLogger\nCometLogger()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert 'Run `pip install "lt-loggers[comet]"`' in done.stderr
