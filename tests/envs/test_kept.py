"""What is kept on disk: digests of sources, files in one piece."""

import stat

import pytest

from flexgym.envs import kept
from flexgym.envs.kept import replace_file, sources_digest


@pytest.fixture
def package(tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "_ROOT", tmp_path)
    monkeypatch.setattr(kept, "_WEIGHTS", tmp_path / "policies" / "weights")
    (tmp_path / "policies" / "weights").mkdir(parents=True)
    (tmp_path / "policies" / "one.py").write_text("1")
    (tmp_path / "policies" / "weights" / "x.json").write_text("1")
    (tmp_path / "alone.py").write_text("1")
    sources_digest.cache_clear()
    yield tmp_path
    sources_digest.cache_clear()


def digest():
    sources_digest.cache_clear()
    return sources_digest("policies", "alone.py")


@pytest.mark.parametrize(
    ("file", "text", "matters"),
    [
        ("policies/one.py", "2", True),
        ("policies/more.csv", "", True),
        ("alone.py", "2", True),
        ("policies/notes.txt", "2", False),
        ("policies/weights/x.json", "2", False),
        ("other.py", "2", False),
    ],
)
def test_a_digest_is_of_sources_and_data(package, file, text, matters):
    before = digest()
    (package / file).write_text(text)
    assert (digest() != before) == matters


def test_a_renamed_file_is_another(package):
    before = digest()
    (package / "policies" / "one.py").rename(package / "policies" / "two.py")
    assert digest() != before
    with pytest.raises(FileNotFoundError):
        sources_digest("nowhere.py")


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def half(part):
        part.write_text("ne")
        assert part.suffix == ".txt"
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        replace_file(path, half)
    assert path.read_text() == "old"
    replace_file(path, lambda part: (part.write_text("new"), part.chmod(0o600)))
    assert path.read_text() == "new"
    assert path.stat().st_mode & stat.S_IRUSR
    assert list(tmp_path.iterdir()) == [path]
