"""What must not be shown: secrets among hyperparameters, in URLs and on a command line."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

MASK = "***"

# A word that ends like one of these: `api_key`, `apiKey`, `authToken`, but not `tokenizer`, `author` or `keyboard`.
_WORD = r"(?i:(?:key|token|secret|password|passwd|passphrase|credential|auth|authorization)s?)(?![a-z])"
_SECRET_KEY = re.compile(_WORD, re.ASCII)
_SECRET_VALUE = re.compile(rf"({_WORD}[\w.-]*[\"']?\s*[=:]\s*[\"']?)[^\"',}}]+", re.ASCII)
_SECRET_OPTION = re.compile(rf"--?[^=\s]*{_WORD}[^=\s]*", re.ASCII)
_URL_USER = re.compile(r"(\b[a-zA-Z][\w+.-]*://)[^/\s]+@")


def is_secret(key: Any, value: Any) -> bool:
    """True for text under a key that speaks of a secret; numbers are none: `max_tokens=512`."""
    is_text = value is not None and not isinstance(value, int | float)
    return is_text and bool(_SECRET_KEY.search(str(key)))


def without_url_user(text: str) -> str:
    """The text with the user part of URLs masked."""
    return _URL_USER.sub(rf"\1{MASK}@", text)


def masked_command(arguments: Sequence[str]) -> Iterator[str]:
    """The arguments with what follows `--api-key`, `TOKEN=` or `"password":` masked, numbers too."""
    follows_secret = False
    for argument in arguments:
        yield MASK if follows_secret else without_url_user(_SECRET_VALUE.sub(rf"\1{MASK}", argument))
        follows_secret = bool(_SECRET_OPTION.fullmatch(argument))
