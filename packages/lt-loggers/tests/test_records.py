from lt_loggers.report.records import MAX_EPOCHS, Records


def records_of(*rows):
    records = Records()
    for step, row in rows:
        records.add(row, step)
    return records


def test_epoch_and_step_are_the_place_of_a_record_and_not_metrics():
    records = records_of((4, {"epoch": 0, "step": 4, "loss": 1.0}))
    assert list(records.curves) == ["loss"]


def test_epochs_end_at_their_last_record_and_an_open_one_does_not_count():
    records = records_of(*((step, {"epoch": (step - 1) // 40, "x": 0.0}) for step in (40, 50, 80, 100)))
    assert records.epochs() == {1: 40, 2: 80}
    records.add({"epoch": 2, "x": 0.0}, 120)
    assert records.epochs() == {1: 40, 2: 80, 3: 120}


def test_a_test_after_training_is_no_epoch():
    records = records_of((40, {"epoch": 0, "loss": 1.0}), (80, {"epoch": 1, "loss": 1.0}), (80, {"epoch": 2, "t": 1.0}))
    assert max(records.epochs()) == 2


def test_very_many_epochs_are_thinned():
    records = records_of(*((10 * epoch, {"epoch": epoch, "x": 0.0}) for epoch in range(3 * MAX_EPOCHS)))
    assert len(records.epoch_ends) <= MAX_EPOCHS


def test_a_file_is_read_and_what_is_done_again_replaces_it(tmp_path):
    (tmp_path / "metrics.csv").write_text("epoch,step,loss,note,acc\n0,10,3.0,hi,\n0,20,2.0,,0.5\n1,30,9.0,,0.9\n1,4")
    records = Records()
    records.read(tmp_path / "metrics.csv")
    records.add({"epoch": 1, "loss": 1.0}, 25)
    records.add({"epoch": 1, "loss": 0.5}, 30)
    loss = [(c.step, c.mean) for c in records.curves["loss"].columns(10)]
    assert loss == [(10, 3.0), (20, 2.0), (25, 1.0), (30, 0.5)]
    assert records.curves["acc"].last == (30, 0.9)
    assert "note" not in records.curves
