"""What each process of `processes_equal_one` runs: `python -m lt.testing.process FOLDER`."""

import importlib
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

from lt.testing.processes import REFERENCE, SPEC, load, save
from lt.testing.runs import Run, bare, some_batches


def main(folder: Path) -> None:
    """Train on this rank's share and write what each step did."""
    spec = json.loads((folder / SPEC).read_text())
    make_model, make_data = (_imported(*spec[name]) for name in ("make_model", "make_data"))
    n, flags = spec["n"], {"use_distributed_sampler": False, "devices": spec["n"], **spec["trainer_args"]}
    run = Run(make_model, make_data, folder, spec["seed"], **flags)
    bare(run.model)
    batches = some_batches(run.data, n * spec["steps"])
    rank = run.trainer.global_rank
    run.fit(batches[: len(batches) // n * n][rank::n], follow=load(folder / REFERENCE).steps)
    save(run.recording, folder / f"rank-{rank}.ckpt")


def _imported(file: str, module: str, name: str) -> Any:
    """A function or class by the name of its module or, where that means nothing here, from its file."""
    try:
        found = importlib.import_module(module)
        if getattr(found, "__file__", None) != file:
            raise ImportError
    except ImportError:
        spec = importlib.util.spec_from_file_location(module if module != "__main__" else "_tested", file)
        if spec is None or spec.loader is None:
            raise ImportError(f"{file!r} is no Python file. Define `{name}` in one.") from None
        found = sys.modules.setdefault(spec.name, importlib.util.module_from_spec(spec))
        spec.loader.exec_module(found)
    for part in name.split("."):
        found = getattr(found, part)
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]))
