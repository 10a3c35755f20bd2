"""Every job of the repository. `nox -l` lists them; plain `nox` checks and tests everything."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import nox

nox.needs_version = ">=2025.2"
nox.options.default_venv_backend = "venv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "types", "tests", "integration", "gpu", "docs"]

# Two OpenMP threads spin against each other on a small busy machine; one is several times faster there.
os.environ["OMP_NUM_THREADS"] = "1"

ROOT = Path(__file__).parent
CONSTRAINTS = ROOT / "constraints.txt"
PROJECTS = {
    path.parent.name: tomllib.loads(path.read_text())["project"]
    for path in sorted(ROOT.glob("packages/*/pyproject.toml"))
}
TOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["envs"]["default"]["dependencies"]
AT_ONCE = ("-n", str(min(4, os.cpu_count() or 1)), "--dist", "loadfile")  # files of tests, on as many processors
HAS_CUDA = (
    bool(shutil.which("nvidia-smi")) and b"GPU" in subprocess.run(["nvidia-smi", "-L"], capture_output=True).stdout
)


def needs(package: str) -> list[str]:
    """The package and all internal packages that it needs."""
    found = [package]
    for name in found:
        declared = [re.split(r"[^\w-]", line)[0] for line in PROJECTS[name]["dependencies"]]
        found += [other for other in declared if other in PROJECTS and other not in found]
    return found


def site_packages(session: nox.Session) -> Path:
    out = session.run("python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", silent=True, log=False)
    return Path(str(out).strip())


def link_torch(session: nox.Session) -> None:
    """Hard-link one unpacked torch into the venv; pip then finds it installed and unpacks no gigabyte again."""
    store = ROOT / ".nox" / ("torch-" + hashlib.sha256(CONSTRAINTS.read_bytes()).hexdigest()[:12])
    if not (store / "complete").exists():
        shutil.rmtree(store, ignore_errors=True)
        command = [sys.executable, "-m", "pip", "install", "-q", "--target", str(store), "-c", str(CONSTRAINTS)]
        session.run(*command, "torch", external=True)
        (store / "complete").touch()
    target = site_packages(session)
    if (target / "torch").exists():
        return
    own = {"bin", "share", "complete", "__pycache__"}  # not packages; and the venv has a setuptools of its own
    for item in store.iterdir():
        if item.name in own or "distutils" in item.name or item.name.startswith("setuptools"):
            continue
        try:
            if item.is_dir():
                shutil.copytree(item, target / item.name, copy_function=os.link)
            else:
                os.link(item, target / item.name)
        except OSError as error:
            session.warn(f"{item.name} could not be linked, pip installs it: {error}")
            shutil.rmtree(target / item.name, ignore_errors=True)


def install(session: nox.Session, packages: list[str], *others: str, test: list[str]) -> None:
    """Install internal packages from this checkout, in one pip call, and prove that no index supplied one."""
    # Plain paths first: pip 23 asks the index for a name that it was only given with an extra.
    paths = [f"{ROOT}/packages/{name}" for name in packages] + [f"{ROOT}/packages/{name}[test]" for name in test]
    arguments = ["-c", str(CONSTRAINTS), *(word for path in paths for word in ("-e", path)), *others]
    metadata = json.dumps([PROJECTS, arguments, CONSTRAINTS.read_text()], sort_keys=True)
    stamp = Path(session.virtualenv.location) / "installed.json"
    if stamp.exists() and stamp.read_text() == metadata:
        return
    stamp.unlink(missing_ok=True)
    extras = [line for name in test for lines in PROJECTS[name]["optional-dependencies"].values() for line in lines]
    if any(line.startswith("torch>") for name in packages for line in PROJECTS[name]["dependencies"] + extras):
        link_torch(session)
    session.install("-q", *arguments)
    for name in PROJECTS:
        for info in site_packages(session).glob(f"{name.replace('-', '_')}-*.dist-info"):
            origin = info / "direct_url.json"
            if not origin.exists() or not json.loads(origin.read_text())["url"].startswith(ROOT.as_uri()):
                session.error(f"{info.name} did not come from this checkout")
    stamp.write_text(metadata)


def run_in_house(session: nox.Session, *command: str, silent: bool = False) -> None:
    """Run a Python module in the venv that the session `house` has made."""
    binaries = (ROOT / session.cache_dir).parent / "house" / "bin"
    environment = {"PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}"}
    session.run(str(binaries / "python"), *command, external=True, env=environment, silent=silent)


shared = nox.session(venv_backend="none", requires=["house"])


@nox.session(default=False)
def house(session: nox.Session) -> None:
    """One venv with all packages, extras and tools, which types, integration, docs, build and bench share."""
    install(session, list(PROJECTS), *TOOLS, test=list(PROJECTS))


@nox.session
def lint(session: nox.Session) -> None:
    """Style and format of every file, by ruff."""
    session.install("-q", "-c", str(CONSTRAINTS), "ruff")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@shared
def types(session: nox.Session) -> None:
    """mypy --strict over the packages, and over the examples as a user's own code."""
    run_in_house(session, "-m", "mypy", "--strict", *(str(path) for path in sorted(ROOT.glob("packages/*/src"))))
    if any(ROOT.glob("docs/examples/*.py")):
        missing = ("import-untyped", "import-not-found")  # of torchvision, of ray
        untyped = [f"--disable-error-code={code}" for code in missing]
        options = ["--strict", "--config-file=", *untyped]
        run_in_house(session, "-m", "mypy", *options, "docs/examples")


@nox.session
@nox.parametrize("package", list(PROJECTS), ids=list(PROJECTS))
def tests(session: nox.Session, package: str) -> None:
    """Each package's tests and README in a venv with only what it declares; `nox -s "tests(lt-data)"` for one."""
    install(session, needs(package), "pytest-xdist", test=[package])
    session.run("python", "-m", "pytest", *AT_ONCE, f"packages/{package}/tests", *session.posargs)
    if not session.posargs:
        session.run("python", "-m", "pytest", "integration-tests/test_docs.py", "-k", f"packages/{package}/README.md")


@shared
def integration(session: nox.Session) -> None:
    """What needs two packages or more, and the guards of the architecture."""
    run_in_house(
        session,
        "-m",
        "pytest",
        *AT_ONCE,
        "integration-tests",
        "--ignore=integration-tests/test_docs.py",
        *session.posargs,
    )


@nox.session(default=False)
def interchange(session: nox.Session) -> None:
    """Checkpoints to and from the real Lightning, in a venv that has both."""
    install(session, list(PROJECTS), "lightning==2.6.6", test=["lt"])
    session.run("python", "-m", "pytest", "integration-tests/interchange", *session.posargs)


@nox.session(venv_backend="venv" if HAS_CUDA else "none")
def gpu(session: nox.Session) -> None:
    """The tests marked `gpu`; skipped, and said so, where there is no CUDA device."""
    if not HAS_CUDA:
        session.skip("no CUDA device on this machine: not one GPU test was run")
    install(session, list(PROJECTS), test=list(PROJECTS))
    session.run("python", "-c", "import torch; assert torch.cuda.is_available(), 'this torch is built without CUDA'")
    session.run("python", "-m", "pytest", "-m", "gpu", "packages", "integration-tests", *session.posargs)


@shared
def docs(session: nox.Session) -> None:
    """The site built without a warning, and every code block of it and of the READMEs run."""
    run_in_house(session, "-m", "mkdocs", "build", "--strict", "-f", "docs/mkdocs.yml", "-d", str(ROOT / "site"))
    run_in_house(session, "-m", "pytest", *AT_ONCE[:2], "integration-tests/test_docs.py", *session.posargs)


@shared
def build(session: nox.Session) -> None:
    """Wheels and sdists of all packages in dist/, their contents checked; SOURCE_DATE_EPOCH is honoured."""
    shutil.rmtree(ROOT / "dist", ignore_errors=True)
    for name in PROJECTS:
        with session.chdir(ROOT / "packages" / name):
            run_in_house(session, "-m", "hatchling", "build", "-d", str(ROOT / "dist"), silent=True)
    run_in_house(session, "-m", "pytest", "integration-tests/test_distributions.py")


@shared
def bench(session: nox.Session) -> None:
    """Cost per step, start and epoch beside a hand-written loop; a report, not a test."""
    for script in sorted(ROOT.glob("integration-tests/benchmarks/*.py")):
        run_in_house(session, str(script), *session.posargs)


@nox.session
def demo(session: nox.Session) -> None:
    """Train on real data with the command line tool; logs and checkpoints land in demo/."""
    install(session, needs("lt"), test=[])
    folder = Path(session.invoked_from) / "demo"
    folder.mkdir(exist_ok=True)
    session.chdir(folder)
    session.run("lt-cli", "fit", *session.posargs)
