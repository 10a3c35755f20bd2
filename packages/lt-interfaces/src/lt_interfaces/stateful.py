"""What can be saved and continued."""

from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Stateful(Protocol):
    """Anything with torch's pair of state methods; the state holds plain values and tensors only."""

    def state_dict(self) -> dict[str, Any]:
        """The state to save."""

    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any:
        """Continue from a saved state."""
