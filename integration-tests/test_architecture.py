"""The rules of the house, read from the files: floors, declarations, versions, forbidden calls."""

import ast
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import public_names
import pytest
from source_tree import BY_IMPORT_NAME, PACKAGES, ROOT, Package, foreign, import_name, imports

FLOORS_PAGE = ROOT / "docs/pages/floors.md"
FORBIDDEN_FILES = re.compile(r"(util|utils|helper|helpers|common|misc|shared|stuff|tools)\.py")
OWN_PROCESSES = ("lt_accel/process_launcher.py", "lt_accel/collectives.py")  # processes of one job, never a file
each_package = pytest.mark.parametrize("package", PACKAGES, ids=[package.name for package in PACKAGES])


def floors() -> dict[str, set[str]]:
    """What each package may import of the others, as the table of the floors page has it."""
    rows = re.findall(r"^\| `(lt[\w-]*)` \|.*\| ([^|]*) \|$", FLOORS_PAGE.read_text(), re.MULTILINE)
    return {name: set(re.findall(r"`(lt[\w-]*)`", allowed)) for name, allowed in rows}


def test_the_floors_page_names_every_package():
    assert set(floors()) == {package.name for package in PACKAGES}


def test_the_floors_have_no_circle():
    list(TopologicalSorter(floors()).static_order())


@each_package
def test_packages_import_only_what_lies_below(package: Package):
    allowed = {name.replace("-", "_") for name in floors()[package.name]}
    found = [i for path in package.modules() + package.tests() for i in foreign(path, package)]
    wrong = [str(i) for i in found if i.top in BY_IMPORT_NAME and i.top not in allowed]
    assert not wrong, f"{FLOORS_PAGE.name} allows `{package.name}` only {sorted(allowed)}"


@each_package
def test_packages_declare_only_what_lies_below(package: Package):
    declared = {BY_IMPORT_NAME[name].name for name in package.required() if name in BY_IMPORT_NAME}
    assert declared <= floors()[package.name]


@each_package
def test_imports_are_declared(package: Package):
    declared = package.required() | package.optional()
    if package.name == "lt-interfaces":  # names torch's types, never needs it
        declared.add("torch")
    wrong = [str(i) for path in package.modules() for i in foreign(path, package) if i.top not in declared]
    assert not wrong, "declare it in pyproject.toml, or do without"


@each_package
def test_what_tests_import_is_declared(package: Package):
    declared = package.required() | package.extra("test")
    found = [i for path in package.tests() for i in foreign(path, package) if not i.for_types]
    wrong = [str(i) for i in found if i.top not in declared]
    assert not wrong, "add it to the extra `test` of pyproject.toml, or do without"


@each_package
def test_what_is_declared_is_imported(package: Package):
    imported = {i.top for path in package.modules() for i in foreign(path, package)}
    declared = package.required() | package.optional()
    if package.name == "lt":  # pins the whole house, also what it only hands on
        declared -= set(BY_IMPORT_NAME)
    assert declared <= imported | ({"torch"} & package.optional())


def test_the_ground_imports_torch_only_for_types():
    interfaces = BY_IMPORT_NAME["lt_interfaces"]
    for path in interfaces.modules():
        for node in ast.parse(path.read_text()).body:
            assert "import torch" not in ast.unparse(node) or "TYPE_CHECKING" in ast.unparse(node), path


@each_package
def test_files_import_each_other_in_no_circle(package: Package):
    files = {_module_name(path, package): path for path in package.modules()}
    graph: dict[str, set[str]] = {name: set() for name in files}
    for name, path in files.items():
        for i in imports(path):
            target = i.module if i.module in files else i.module.rpartition(".")[0]
            if target in files and target != name:
                graph[name].add(target)
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail("circle of files: " + " <- ".join(error.args[1]))


def _module_name(path: Path, package: Package) -> str:
    return ".".join(path.relative_to(package.source.parent).with_suffix("").parts).removesuffix(".__init__")


@each_package
def test_the_two_lists_of_lazy_names_agree(package: Package):
    for path in package.modules():
        if "= lazy_names(" in path.read_text():
            for_types, at_run_time = _lazy_names(path, _module_name(path, package))
            assert sorted(for_types) == sorted(at_run_time), path


@each_package
def test_no_file_has_the_name_of_a_lazy_name_in_another_file(package: Package):
    for path in package.source.rglob("__init__.py"):
        if "= lazy_names(" in path.read_text():
            files = {f"{_module_name(path, package)}.{file.stem}" for file in path.parent.iterdir()}
            names = {f"{_module_name(path, package)}.{n.rpartition('.')[2]}": n for n in _lazy_names(path, "")[0]}
            hidden = [name for name in files & set(names) if names[name] != name]
            assert not hidden, "importing the file would put it in the place of the name"


def _lazy_names(path: Path, module: str) -> tuple[list[str], list[str]]:
    """Dotted names: those that type checkers are told, and those of the table beside them."""
    [block] = [n for n in ast.parse(path.read_text()).body if isinstance(n, ast.If)]
    told = [f"{i.module}.{alias.name}" for i in block.body for alias in i.names]
    [call] = [n for n in ast.walk(block) if isinstance(n, ast.Call) and ast.unparse(n.func) == "lazy_names"]
    if told[0].endswith(".*"):  # all names of another package, which has the two lists itself
        return told, [f"{home.value}.*" for home in call.args[1].keys]
    table = ast.literal_eval(call.args[1])
    homes = {home: (module + home).rstrip(".") if home[0] == "." else home for home in table}
    return told, [f"{homes[home]}.{name}" for home, names in table.items() for name in names.split()]


@each_package
def test_all_packages_have_one_version(package: Package):
    version = PACKAGES[0].project["version"]
    assert package.project["version"] == version
    assert f'__version__ = "{version}"' in (package.source / "__init__.py").read_text()
    for line in package.project["dependencies"]:
        if import_name(line) in BY_IMPORT_NAME:
            wanted = f"=={version}" if package.name == "lt" else f"~={version.rpartition('.')[0]}.0"
            assert line.endswith(wanted)


@each_package
def test_every_package_has_its_papers(package: Package):
    for name in ("README.md", "pyproject.toml", f"src/{package.import_name}/py.typed"):
        assert (package.folder / name).exists(), name
    assert any(path.name.startswith("test_") for path in package.tests()), f"{package.name} has no tests"
    assert (package.folder / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


@each_package
def test_readmes_fit_on_a_screen_and_show_code(package: Package):
    text = (package.folder / "README.md").read_text()
    assert f"pip install {package.name}" in text
    assert "```python\n" in text
    assert text.count("\n") <= 40


@each_package
def test_files_are_named_after_what_they_hold(package: Package):
    assert not [path for path in package.modules() if FORBIDDEN_FILES.fullmatch(path.name)]


@each_package
def test_nothing_runs_what_data_says(package: Package):
    found = [line for path in package.modules() for line in _dangerous_calls(path)]
    assert not found


def _dangerous_calls(path: Path) -> list[str]:
    forbidden = {"eval", "exec", "pickle.load", "pickle.loads", "pickle.Unpickler", "os.system"}
    text = path.read_text()
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call):
            name, options = ast.unparse(node.func), {k.arg: ast.unparse(k.value) for k in node.keywords}
            bad = name in forbidden and not (name == "pickle.loads" and path.as_posix().endswith(OWN_PROCESSES))
            bad = bad or options.get("shell", "False") != "False"
            if name == "torch.load":
                bad = "lt_checkpoint" not in path.parts or options.get("weights_only") != "True"
                bad = bad and "i_trust_this_file" not in _function_around(node, text)
            if name == "yaml.load":
                bad = f"class {options.get('Loader')}(yaml.SafeLoader)" not in text
            found += [f"{path.relative_to(ROOT)}:{node.lineno} calls {name}"] * bad
    return found


def _function_around(call: ast.Call, text: str) -> str:
    """The first line of the function that a call is in."""
    functions = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef)]
    around = [n for n in functions if n.lineno <= call.lineno <= (n.end_lineno or 0)]
    return ast.unparse(around[-1].args) if around else ""


@each_package
def test_public_names_are_frozen(package: Package):
    frozen = [name for name in public_names.frozen_names() if name.split(".")[0] == package.import_name]
    assert public_names.public_names(package) == frozen, (
        "the public names changed. If that is meant, say so in CHANGELOG.md and run "
        "`python integration-tests/public_names.py`."
    )


def test_ci_runs_the_command_of_the_readme():
    ran = [line.split(" 2>&1")[0].strip() for line in (ROOT / ".ci/run").read_text().splitlines() if "-m nox" in line]
    shown = re.findall(r"```(?:bash|sh|console)\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(ran) == 1
    assert ran[0] in "\n".join(shown).splitlines()


def test_pre_commit_runs_the_constrained_ruff():
    [pin] = re.findall(r"^ruff==.*$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    wanted = re.findall(r"\[(ruff.*)\]", (ROOT / ".pre-commit-config.yaml").read_text())
    assert wanted
    assert set(wanted) == {pin}


def test_every_session_says_what_it_does():
    tree = ast.parse((ROOT / "noxfile.py").read_text())
    sessions = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.decorator_list]
    assert len(sessions) > 8
    for session in sessions:
        assert len((ast.get_docstring(session) or "").splitlines()) == 1, session.name
