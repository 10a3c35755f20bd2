"""A time limit on calls that have none: what asks a torch store waits for ever once the cable to it is cut."""

import threading
from collections.abc import Callable
from typing import Any


def within(seconds: float, function: Callable[[], Any]) -> Any:
    """What `function` returns or raises; TimeoutError after that time, when it goes on and nobody listens."""
    returned: list[Any] = []
    raised: list[BaseException] = []

    def call() -> None:
        try:
            returned.append(function())
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=call, name="lt-time-limit", daemon=True)
    thread.start()
    thread.join(seconds)
    if raised:
        raise raised[0]
    if not returned:
        raise TimeoutError(f"No answer within {seconds:g} seconds.")
    return returned[0]
