"""How objects with tensors in them travel between ranks: collectives look into lists and dicts, not into these."""

from typing import Any


class Parcel:
    """Something that collectives hand over whole."""

    def __init__(self, content: Any) -> None:
        self.content = content
