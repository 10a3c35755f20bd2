"""A small job on real data: handwritten digits, eight by eight pixels, a classifier and its data module."""

from lt.demo.classifier import DigitClassifier
from lt.demo.digits import Digits, load_digits

__all__ = ["DigitClassifier", "Digits", "load_digits"]
