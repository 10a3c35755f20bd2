"""The command that looks after files."""

import runpy
import sys

import pytest
from lt_checkpoint import save


def test_verify_names_good_and_bad_files_and_fails_if_one_is_bad(tmp_path, capsys, monkeypatch):
    save({"step": 1}, tmp_path / "good.ckpt")
    (tmp_path / "bad.ckpt").write_bytes(b"PK")
    monkeypatch.setattr(sys, "argv", ["x", "verify", str(tmp_path / "good.ckpt"), str(tmp_path / "bad.ckpt")])
    with pytest.raises(SystemExit) as caught:
        runpy.run_module("lt_checkpoint", run_name="__main__")
    good, bad = capsys.readouterr().out.splitlines()
    assert caught.value.code == 1
    assert good.startswith("good")
    assert bad.startswith("bad")
