"""One metric over a run of any length, in memory of fixed size."""

from __future__ import annotations

import math
from typing import NamedTuple

MAX_BUCKETS = 1000
LIMIT = 1e300  # what is beyond could not be drawn: sums and spans would overflow

STEP, LOW, HIGH, TOTAL, COUNT = range(5)


class Point(NamedTuple):
    """A value and where it was."""

    step: int
    value: float


class Column(NamedTuple):
    """What is drawn above one place of the axis: neighbouring samples as their mean and extremes."""

    step: int
    mean: float
    low: float
    high: float


class Curve:
    """Samples in buckets of equal count; when there are too many, neighbours become one. Best and last stay exact."""

    __slots__ = ("_buckets", "_in_bucket", "count", "first_not_finite", "greatest", "last", "least")

    def __init__(self) -> None:
        self.count = 0
        self.last = Point(0, math.nan)
        self.least = Point(0, math.inf)
        self.greatest = Point(0, -math.inf)
        self.first_not_finite: Point | None = None
        self._buckets: list[list[float]] = []
        self._in_bucket = 1

    def add(self, step: int, value: float) -> None:
        """Take one sample; values that are not finite are counted and not drawn."""
        self.last = point = Point(step, value)
        self.count += 1
        if not -LIMIT < value < LIMIT:
            self.first_not_finite = self.first_not_finite or point
            return
        if value < self.least[1]:
            self.least = point
        if value > self.greatest[1]:
            self.greatest = point
        buckets = self._buckets
        if buckets and buckets[-1][COUNT] < self._in_bucket:
            bucket = buckets[-1]
            bucket[STEP] = step
            bucket[TOTAL] += value
            bucket[COUNT] += 1
            if value < bucket[LOW]:
                bucket[LOW] = value
            elif value > bucket[HIGH]:
                bucket[HIGH] = value
            return
        if len(buckets) == MAX_BUCKETS:
            self._halve()
        buckets.append([step, value, value, value, 1])

    def before(self, step: int) -> Curve:
        """What was before a step; of a thinned curve the extremes are then known to be near their steps only."""
        curve = Curve()
        curve._in_bucket = self._in_bucket
        for bucket in (bucket for bucket in self._buckets if bucket[STEP] < step):
            at = int(bucket[STEP])
            curve._buckets.append(bucket)
            curve.count += int(bucket[COUNT])
            curve.last = Point(at, bucket[TOTAL] / bucket[COUNT])
            curve.least = min(curve.least, Point(at, bucket[LOW]), key=lambda point: point.value)
            curve.greatest = max(curve.greatest, Point(at, bucket[HIGH]), key=lambda point: point.value)
        return curve

    def columns(self, at_most: int) -> list[Column]:
        """The finite samples for drawing, in the order they came."""
        width = max(1, -(-len(self._buckets) // at_most))
        found = []
        for start in range(0, len(self._buckets), width):
            part = self._buckets[start : start + width]
            _, low, high, total, count = _merged(part)
            found.append(Column(int(part[len(part) // 2][STEP]), total / count, low, high))
        return found

    def _halve(self) -> None:
        self._buckets[:] = [_merged(self._buckets[i : i + 2]) for i in range(0, len(self._buckets), 2)]
        self._in_bucket *= 2


def _merged(buckets: list[list[float]]) -> list[float]:
    whole = list(buckets[0])
    for bucket in buckets[1:]:
        _merge(whole, bucket)
    return whole


def _merge(whole: list[float], part: list[float]) -> None:
    whole[STEP] = part[STEP]
    whole[LOW] = min(whole[LOW], part[LOW])
    whole[HIGH] = max(whole[HIGH], part[HIGH])
    whole[TOTAL] += part[TOTAL]
    whole[COUNT] += part[COUNT]
