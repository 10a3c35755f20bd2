"""Small files that are there whole or not at all."""

import os


def write_text(path: str, text: str) -> None:
    """Replace the file, or leave it as it was; folders are made."""
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    temporary = f"{path}.{os.getpid()}.tmp"
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
