"""A fit in the kernel of a notebook: its own bar, the last lines below it, and nothing that a notebook cannot show."""

import pytest

nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("ipykernel")
pytest.importorskip("ipywidgets")

CELL = """
import lt
from lt.demo import DigitClassifier, Digits

trainer = lt.Trainer(max_epochs=2, accelerator="cpu")
trainer.fit(DigitClassifier(width=4), datamodule=Digits())
"""
WIDGET = "application/vnd.jupyter.widget-view+json"


def named(reference, widgets):
    return widgets[reference.removeprefix("IPY_MODEL_")]["state"]


def is_seen(box, widgets):
    return named(box["layout"], widgets)["visibility"] != "hidden"


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """What the cell showed."""
    folder = tmp_path_factory.mktemp("notebook")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(folder)}}).execute()
    return notebook.cells[0].outputs, notebook.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"]


def test_one_bar_of_the_notebooks_own_is_left_and_none_is_made_for_each_validation(outputs):
    shown, widgets = outputs
    boxes = [widgets[view.data[WIDGET]["model_id"]]["state"] for view in shown if WIDGET in view.get("data", {})]
    assert len(boxes) == 3  # of the sanity check, of training, of validation
    texts = [[named(child, widgets)["value"] for child in box["children"]] for box in boxes]
    left = [text for box, text in zip(boxes, texts, strict=True) if is_seen(box, widgets)]
    [[description, bar, rest]] = left
    assert (description.replace("\u2007", " ").strip(), bar) == ("Epoch 2/2: 100%", 40)
    assert "40/40" in rest
    assert "val_acc=" in rest
    assert "█" not in str(texts)


def test_the_text_has_the_summary_and_the_last_lines_and_no_control_characters(outputs):
    text = "".join(output.text for output in outputs[0] if output.output_type == "stream")
    assert "\x1b" not in text
    assert "\r" not in text
    assert "Trained 80 steps to epoch 2 in" in text
    assert text.rstrip().splitlines()[-1].startswith("Curves: lightning_logs/version_0/report.html")
