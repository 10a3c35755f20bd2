import subprocess
import sys

from lt_loggers.report.environment import command_line, environment, git_head


def test_the_environment_names_python_platform_and_command(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/home/me/train.py", "--lr", "0.1", "--api-key", "sk-1"])
    facts = environment()
    assert {"Python", "Platform", "CPU cores", "Command"} <= set(facts)
    assert facts["Command"] == "train.py --lr 0.1 --api-key ***"
    assert all("/home/me" not in value and "sk-1" not in value for value in facts.values())


def test_torch_is_named_where_it_is_loaded_and_not_loaded_for_that():
    code = "from lt_loggers.report.environment import environment; import sys\n"
    code += "environment(); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_an_empty_command_line_is_no_error(monkeypatch):
    monkeypatch.setattr(sys, "argv", [])
    assert command_line() == "python"


def test_the_commit_is_read_from_loose_packed_and_detached_heads(tmp_path):
    git, commit = tmp_path / ".git", "0123456789abcdef" * 2 + "01234567"
    (git / "refs/heads").mkdir(parents=True)
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    (git / "packed-refs").write_text(f"# pack-refs\n{commit} refs/heads/main\n")
    (tmp_path / "deep/er").mkdir(parents=True)
    assert git_head(tmp_path / "deep/er") == "main 0123456789ab"
    (git / "refs/heads/main").write_text("f" * 40 + "\n")
    assert git_head(tmp_path) == "main ffffffffffff"
    (git / "HEAD").write_text(commit)
    assert git_head(tmp_path) == "0123456789ab"


def test_a_linked_worktree_is_followed_to_its_repository(tmp_path):
    linked = tmp_path / "main/.git/worktrees/w"
    linked.mkdir(parents=True)
    (linked / "HEAD").write_text("ref: refs/heads/topic")
    (linked / "commondir").write_text("../..")
    (tmp_path / "main/.git/refs/heads").mkdir(parents=True)
    (tmp_path / "main/.git/refs/heads/topic").write_text("a" * 40)
    (tmp_path / "w").mkdir()
    (tmp_path / "w/.git").write_text(f"gitdir: {linked}\n")
    assert git_head(tmp_path / "w") == "topic aaaaaaaaaaaa"


def test_what_is_no_commit_is_not_shown(tmp_path):
    (tmp_path / ".git").mkdir()
    (tmp_path / "secret").write_text("password")
    (tmp_path / ".git/HEAD").write_text("ref: ../secret")
    assert git_head(tmp_path) is None
    (tmp_path / ".git/HEAD").write_text("ref: refs/heads/none")
    assert git_head(tmp_path) is None
