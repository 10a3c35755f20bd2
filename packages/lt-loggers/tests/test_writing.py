from pathlib import Path

import pytest
from lt_loggers import CSVLogger, HTMLLogger, write_report
from lt_loggers.report import compare


def run_in(folder, losses, **hparams):
    csv = CSVLogger(folder)
    html = HTMLLogger(folder).beside(csv)
    for logger in (csv, html):
        logger.log_hyperparams(hparams)
        for step, loss in enumerate(losses):
            logger.log_metrics({"val_loss": loss, "epoch": step}, step)
        logger.finalize("success")
    return Path(csv.log_dir)


def test_a_report_written_later_is_the_one_that_the_run_wrote(tmp_path):
    run = run_in(tmp_path, [3.0, 1.0, 2.0], lr=0.1)
    live = (run / "report.html").read_text()
    assert write_report(run) == run / "report.html"
    assert (run / "report.html").read_text() == live


def test_a_run_that_only_wrote_csv_gets_a_report_where_one_asks_for_it(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/metrics.csv").write_text("step,val_acc\n5,0.5\n9,0.75\n")
    page = write_report(tmp_path / "run", file=tmp_path / "a.html").read_text()
    assert "best 0.75 at step 9" in page
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["metrics.csv"]


def test_several_runs_are_drawn_in_one_chart_with_what_differs_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runs = [run_in(tmp_path, losses, width=8, lr=lr) for losses, lr in (([3.0, 1.0], 0.1), ([3.0, 0.5], 0.2))]
    assert write_report(*runs) == Path("comparison.html")
    page = Path("comparison.html").read_text()
    assert page.count("<svg") == 1
    assert page.count('data-label="version_') == 2
    assert page.index('<td class="differs">lr</td>') < page.index("<td>width</td>")
    assert '<td class="best">0.5 <small>1</small></td>' in page


def test_one_run_given_twice_is_one_and_many_share_few_colours(tmp_path):
    runs = [run_in(tmp_path, [1.0 + i, 0.5]) for i in range(9)]
    page = compare([*runs, runs[0]])
    assert "<h1>9 runs</h1>" in page
    assert "c1 dashed" in page


@pytest.mark.parametrize("facts", ["[]", "{", '{"seconds": "x"}', '{"checkpoints": 3}'])
def test_a_page_with_broken_facts_does_not_stop_a_new_one(tmp_path, facts):
    run = run_in(tmp_path, [2.0, 1.0])
    (run / "report.html").write_text(f'<script type="application/json" id="run">{facts}</script>')
    assert "best 1 at step 1" in write_report(run).read_text()


def test_what_is_no_run_is_an_error_that_names_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no `metrics\.csv` in .*Give the folder of a run"):
        write_report(tmp_path)
    with pytest.raises(TypeError, match="needs a run"):
        write_report()
    (tmp_path / "metrics.csv").write_text("a,b\n" + "x" * 200_000)
    with pytest.raises(ValueError, match="no table of metrics"):
        write_report(tmp_path)


def test_charts_that_are_left_out_are_counted(tmp_path):
    rows = [",".join(["step", *(f"m{i}" for i in range(45))]), *(",".join(["5"] * 46), ",".join(["6"] * 46))]
    (tmp_path / "metrics.csv").write_text("\n".join(rows))
    page = write_report(tmp_path).read_text()
    assert page.count("<svg") == 40
    assert "5 more charts would make the page too long." in page


def test_words_in_a_table_of_somebody_elses_are_passed_over(tmp_path):
    (tmp_path / "metrics.csv").write_text("step,val_acc,note\n5,0.5,warm\n\n9,0.75,,extra\n")
    assert "best 0.75 at step 9" in write_report(tmp_path).read_text()
