"""Which values are secrets, and how they read in files, logs and messages: one rule for all packages."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

MASK = "***"

# The words of a name: "api" and "key" of `api_key`, `apiKey` and `API_KEY`, but "monkey" of `monkey`.
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+")
_ALWAYS = frozenset({"secret", "password", "passwd", "passphrase", "passkey", "credential", "apikey", "authtoken"})
_LAST = frozenset({"auth", "authorization", "bearer"})
_WHOSE = re.compile(
    "access|account|admin|anthropic|api|app|auth|aws|azure|bearer|bot|comet|deploy|encryption|github|gitlab|"
    "google|hf|hub|huggingface|jwt|license|login|master|mlflow|neptune|oauth|openai|personal|private|refresh|secret|"
    "security|service|signing|ssh|storage|subscription|wandb"
)
"""`hf_token` and `access_key` are secrets, `pad_token` and `image_key` are not."""
_OPAQUE = re.compile(
    r"(?=\D*\d)(?=.*[A-Za-z])[A-Za-z0-9+/=]{24,}|(?=\D*\d)(?=.*[A-Z])(?=.*[a-z])[\w+/=.:-]{32,}", re.ASCII
)
_ISSUED = re.compile(
    r"(?:hf|gh[opsu])_[A-Za-z0-9]{30,}|github_pat_\w{30,}|glpat-[\w-]{20,}|xox[abp]-\d[\w-]{10,}|A[KS]IA[A-Z0-9]{16}"
    r"|sk-(?=\D*\d)(?=.*[A-Z])[\w-]{20,}|ya29\.[\w-]{20,}|eyJ[\w-]{10,}\.[\w-]+\.[\w-]+",
    re.ASCII,
)
_URL_USER = re.compile(r"(?!\b(?:git\+)?ssh://[^/\s:@]+@)(\b[a-zA-Z][\w+.-]*://)[^/\s]+@")


def is_secret(key: Any, value: Any) -> bool:
    """True for text under a name that speaks of a secret, and for text with the form of an issued token.

    Words decide, not letters: `api_key`, `authToken`, `db_password`, but not `monkey`, `keypoints` or `author`. Any
    other `..._key` or `..._token` holds one if it looks like one. Numbers are none: `max_tokens=512`.
    """
    if value is None or value == "" or isinstance(value, int | float):
        return False
    if hasattr(value, "get_secret_value") or (isinstance(value, str) and _ISSUED.fullmatch(value)):
        return True
    words = ["", *(word.lower() for word in _WORD.findall(str(key)))]
    before, last = words[-2:] if len(words) > 1 else ("", "")
    last = last.removesuffix("s")
    if any(word.removesuffix("s") in _ALWAYS for word in words) or last in _LAST or words == ["", "token"]:
        return True
    if last not in ("key", "token"):
        return False
    return bool(_WHOSE.fullmatch(before) or (isinstance(value, str) and _OPAQUE.fullmatch(value)))


def without_url_user(text: str) -> str:
    """The text with the user part of URLs masked."""
    return _URL_USER.sub(rf"\1{MASK}@", text)


def masked(value: Any, key: Any = "") -> Any:
    """The value with `***` for every secret in it, in any nesting of mappings, lists and tuples."""
    if is_secret(key, value):
        return MASK
    if isinstance(value, str):
        return without_url_user(value)
    if isinstance(value, Mapping):
        inside = {k: masked(v, k) for k, v in value.items()}
        return inside if any(inside[k] is not v for k, v in value.items()) else value
    if type(value) in (list, tuple):
        elements = [masked(element) for element in value]
        return type(value)(elements) if any(a is not b for a, b in zip(elements, value, strict=True)) else value
    return value


def masks_in(value: Any, name: str) -> Iterator[str]:
    """The names at which `masked` has left a mask, dotted from `name`."""
    if isinstance(value, str) and (value == MASK or f"://{MASK}@" in value):
        yield name
    elif isinstance(value, Mapping):
        for key, inside in value.items():
            yield from masks_in(inside, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple):
        for i, inside in enumerate(value):
            yield from masks_in(inside, f"{name}[{i}]")
