"""`make fuzz` fails, with a line, where a reader brings up a fault and where nothing was fuzzed."""

import importlib.util
import platform
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).with_name("fuzz")))

import fuzz_all

LIST = "import sys\nif len(sys.argv) == 1: print('one\\ntwo')\n"


@pytest.fixture
def atheris(monkeypatch):
    """As if it were installed."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())


@pytest.mark.parametrize(
    "source, code, said",
    [
        (LIST + "else: print('stat::number_of_executed_units: 17')", 0, "two: 17 inputs"),
        ("", 1, "lists no readers: nothing said"),
        ("import no_such_module", 1, "lists no readers: ModuleNotFoundError"),
        (LIST + "else: sys.exit('boom')", 1, "boom"),
        (LIST + "else: print('stat::number_of_executed_units: 5'); sys.exit(77)", 1, "fuzz: one: exit code 77 after 5 inputs"),
        (LIST + "else: print('stat::number_of_executed_units: 0')", 1, "fuzz: one: exit code 0 after 0 inputs"),
        (LIST, 1, "after an unknown number of inputs"),
    ],
)
def test_what_is_said(atheris, tmp_path, capsys, source, code, said):
    (tmp_path / "fuzz.py").write_text(source)
    assert fuzz_all.main("1", tmp_path / "fuzz.py") == code
    out, err = capsys.readouterr()
    assert said in (err if code else out)


def test_where_it_cannot_be_installed(monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    assert fuzz_all.main("1") == 1
    assert capsys.readouterr().err.startswith("fuzz: atheris is not installed, it exists for x86_64 Linux (this is arm64 ")
