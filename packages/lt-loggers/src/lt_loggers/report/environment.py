"""Where a run happens: versions, machine, command line, commit; read without starting a process."""

import os
import platform
import re
import shlex
import sys
from pathlib import Path

from lt_interfaces.masking import MASK

from lt_loggers.masking import masked_command


def environment() -> dict[str, str]:
    """Facts by name, secrets of the command line as `***`; torch is named where it is loaded."""
    facts = {"Python": f"{platform.python_version()} ({platform.python_implementation()})"}
    torch = sys.modules.get("torch")
    if torch is not None:
        facts["torch"] = str(getattr(torch, "__version__", "unknown"))
    for package in ("lt", "lightning"):
        if package in sys.modules:
            facts[package] = str(getattr(sys.modules[package], "__version__", "unknown"))
    facts["Platform"] = platform.platform()
    facts["CPU cores"] = _cores()
    if os.environ.get("WORLD_SIZE", "1") != "1":
        facts["Processes"] = os.environ["WORLD_SIZE"]
    facts["Command"] = command_line()
    commit = git_head(Path.cwd())
    return facts | ({"git HEAD": commit} if commit else {})


def accelerator() -> dict[str, str]:
    """The GPU in use, once something uses one."""
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    if cuda is None or not cuda.is_initialized():
        return {}
    return {"GPU": f"{cuda.device_count()} x {cuda.get_device_name()}"}


def command_line() -> str:
    """How the program was started, its path shortened to the name."""
    program, *arguments = sys.argv or [""]
    return shlex.join([Path(program).name or "python", *masked_command(arguments)]).replace(f"'{MASK}'", MASK)


def git_head(folder: Path) -> str | None:
    """The branch and commit that the checkout around the folder stands at; None without one."""
    try:
        git = next((path / ".git" for path in (folder, *folder.parents) if (path / ".git").exists()), None)
        if git is None:
            return None
        if git.is_file():
            git = (git.parent / git.read_text().removeprefix("gitdir:").strip()).resolve()
        head = (git / "HEAD").read_text().strip()
        if not head.startswith("ref: "):
            return _commit(head)
        ref = head.removeprefix("ref: ")
        commit = _commit(_resolved(git, ref))
        return commit and f"{ref.removeprefix('refs/heads/')} {commit}"
    except (OSError, ValueError):
        return None


def _resolved(git: Path, ref: str) -> str:
    shared = git / "commondir"
    common = (git / shared.read_text().strip()).resolve() if shared.exists() else git
    for place in (git, common):
        if (place / ref).is_file():
            return (place / ref).read_text().strip()
    packed = re.search(rf"^([0-9a-f]+) {re.escape(ref)}$", (common / "packed-refs").read_text(), re.MULTILINE)
    return packed[1] if packed else ""


def _commit(text: str) -> str | None:
    return text[:12] if re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", text) else None


def _cores() -> str:
    total = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else total
    return str(total) if usable == total else f"{usable} of {total}"
