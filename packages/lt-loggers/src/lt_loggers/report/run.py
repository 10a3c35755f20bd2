"""One run as a report knows it: its records, and the facts about it that the page carries along."""

from __future__ import annotations

import csv
import json
import re
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lt_loggers.hparams import load_hparams_from_yaml
from lt_loggers.report.curve import Curve, Point
from lt_loggers.report.naming import is_less_better
from lt_loggers.report.records import Records

FACTS = ("status", "started", "updated", "seconds", "environment", "checkpoints", "directions")
SPEED = "steps_per_sec"
MAX_CHECKPOINTS, MAX_SPEEDS = 50, 200
_CARRIED = re.compile(r'<script type="application/json" id="run">(.*?)</script>', re.DOTALL)


@dataclass(kw_only=True, slots=True)
class Run:
    """What is known of a run. `directions` tells of monitored metrics if "min" or "max" is better."""

    name: str
    version: str
    status: str = ""
    started: float | None = None
    updated: float | None = None
    seconds: float = 0.0
    environment: dict[str, str] = field(default_factory=dict)
    checkpoints: list[tuple[str, str, float | None, str]] = field(default_factory=list)
    directions: dict[str, str] = field(default_factory=dict)
    warnings: dict[tuple[str, str], int] = field(default_factory=dict)
    hparams: dict[str, Any] = field(default_factory=dict)
    records: Records = field(default_factory=Records)
    speed: Curve = field(default_factory=Curve)

    @property
    def title(self) -> str:
        """Name and version; once where they are the same."""
        return " / ".join(dict.fromkeys(filter(None, (self.name, self.version))))

    @property
    def curves(self) -> dict[str, Curve]:
        """The metrics, and how fast the run went unless one of them has that name."""
        return {**({SPEED: self.speed} if self.speed.count else {}), **self.records.curves}

    def best(self, name: str, curve: Curve) -> Point | None:
        """The best point of a metric, as the checkpoints or else its name tell what is better."""
        told = self.directions.get(name)
        less = is_less_better(name) if told is None else told == "min"
        if less is None or curve.least.value > curve.greatest.value:
            return None
        return curve.least if less else curve.greatest

    def epoch_of(self, step: int) -> int | None:
        """The epoch, counted from 0, that a step belongs to."""
        return next((done - 1 for done, end in self.records.epochs().items() if step <= end), None)

    def facts(self) -> str:
        """What the page carries along, as JSON that is inert within HTML."""
        facts = {name: getattr(self, name) for name in FACTS}
        facts["warnings"] = [(*key, count) for key, count in self.warnings.items()]
        facts["speed"] = [(column.step, column.mean) for column in self.speed.columns(MAX_SPEEDS)]
        return json.dumps(facts).replace("<", "\\u003c").replace("&", "\\u0026")


def read_run(folder: Path) -> Run:
    """What the files of a run's folder tell: `metrics.csv`, `hparams.yaml` and an earlier `report.html`."""
    run = Run(name=folder.parent.name, version=folder.name)
    with suppress(OSError, ValueError, TypeError):
        _take_facts(run, (folder / "report.html").read_text(encoding="utf-8", errors="replace"))
    with suppress(FileNotFoundError):
        run.hparams = load_hparams_from_yaml(folder / "hparams.yaml")
    try:
        run.records.read(folder / "metrics.csv")
    except FileNotFoundError:
        pass
    except csv.Error as error:
        path = str(folder / "metrics.csv")
        raise ValueError(f"{path!r} is no table of metrics: {error}. Give the folder of a run.") from error
    return run


def _take_facts(run: Run, page: str) -> None:
    carried = _CARRIED.search(page)
    facts = dict(json.loads(carried[1])) if carried else {}
    run.status, run.seconds = str(facts.get("status", "")), _seconds(facts.get("seconds")) or 0.0
    run.started, run.updated = _seconds(facts.get("started")), _seconds(facts.get("updated"))
    run.environment = {str(name): str(value) for name, value in dict(facts.get("environment", {})).items()}
    run.directions = {str(name): str(value) for name, value in dict(facts.get("directions", {})).items()}
    run.checkpoints = [
        (str(file), str(monitor), None if score is None else float(score), str(role))
        for file, monitor, score, role in facts.get("checkpoints", [])
    ]
    run.warnings = {(str(said), str(place)): int(count) for said, place, count in facts.get("warnings", [])}
    for step, rate in facts.get("speed", []):
        run.speed.add(int(step), float(rate))


def _seconds(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and 0 <= value < 1e11 else None
