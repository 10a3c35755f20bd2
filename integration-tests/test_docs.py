"""The documentation is true: its code blocks run, its site builds, its pages fetch nothing from elsewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [
    page.relative_to(ROOT).as_posix()
    for page in sorted([*ROOT.glob("*.md"), *ROOT.glob("packages/*/README.md"), *ROOT.glob("docs/**/*.md")])
]
FENCE = re.compile(r"^(?P<indent> *)```(?P<info>.*)$")
EXCUSE = re.compile(r"<!-- not run: \S.* -->")


def program(page: str) -> str:
    """The code blocks of a page as one program, each line at the number that it has in the page."""
    out, inside, indent, previous = [], None, 0, ""
    for line in (ROOT / page).read_text().splitlines():
        fence = FENCE.match(line)
        code = ""
        if inside is None and fence:
            inside, indent = (fence["info"].strip(), EXCUSE.fullmatch(previous)), len(fence["indent"])
            assert not re.match(r"(py|python3|pycon)\b|python +no", inside[0]), f"{page}: write ```python, not {line!r}"
        elif inside and line.strip() == "```":
            inside = None
        elif inside and inside[0].split(" ")[0] == "python" and not inside[1]:
            code = line[indent:]
        out.append(code)
        previous = line.strip() or previous
    return "\n".join(out) + "\n"


PROGRAMS = {page: code for page in PAGES if (code := program(page)).strip()}


@pytest.mark.parametrize("page", PROGRAMS)
def test_the_code_of_a_page_runs(page: str, tmp_path: Path):
    script = tmp_path / "page.py"
    script.write_text(PROGRAMS[page])
    folder = tmp_path / "run"
    folder.mkdir()
    done = subprocess.run([sys.executable, str(script)], cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{page}, lines as in the page:\n{done.stdout[-1000:]}\n{done.stderr[-4000:]}"


def test_all_pages_of_the_site_lie_in_its_folder():
    assert [page for page in PAGES if page.startswith("docs/") and not page.startswith("docs/pages/")] == []


def test_the_site_builds_without_a_warning_and_fetches_nothing(tmp_path: Path):
    pytest.importorskip("mkdocs", reason="the site is built in the session `docs`")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(ROOT / "docs/mkdocs.yml")]
    done = subprocess.run([*command, "-d", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    fetched = re.compile(
        r"<(?:script|img|iframe)[^>]+src=.?https?:|<link[^>]+rel=.?(?:stylesheet|preconnect)[^>]+https?:"
    )
    assert [page.name for page in tmp_path.rglob("*.html") if fetched.search(page.read_text())] == []
