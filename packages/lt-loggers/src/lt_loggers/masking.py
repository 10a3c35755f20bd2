"""What must not be shown of texts: secrets in messages and on a command line, masked generously."""

import os
import re
from collections.abc import Iterator, Sequence

from lt_interfaces.masking import MASK, is_secret, without_url_user

# A word that ends like one of these: `api_key`, `apiKey`, `authToken`, but not `tokenizer`, `author` or `keyboard`.
_WORD = r"(?i:(?:key|token|secret|password|passwd|passphrase|credential|auth|authorization)s?)(?![a-z])"
_SECRET_VALUE = re.compile(rf"({_WORD}[\w.-]*[\"']?\s*[=:]\s*[\"']?)[^\"',}}]+", re.ASCII)
_SECRET_OPTION = re.compile(rf"--?[^=\s]*{_WORD}[^=\s]*", re.ASCII)


def without_secrets(text: str) -> str:
    """The text with URL users, `key=value` secrets and the secrets of the process's environment masked."""
    for name, value in os.environ.items():
        if len(value) > 6 and is_secret(name, value):
            text = text.replace(value, MASK)
    return without_url_user(_SECRET_VALUE.sub(rf"\1{MASK}", text))


def masked_command(arguments: Sequence[str]) -> Iterator[str]:
    """The arguments with what follows `--api-key`, `TOKEN=` or `"password":` masked, numbers too."""
    follows_secret = False
    for argument in arguments:
        yield MASK if follows_secret else without_url_user(_SECRET_VALUE.sub(rf"\1{MASK}", argument))
        follows_secret = bool(_SECRET_OPTION.fullmatch(argument))
