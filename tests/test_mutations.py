"""The list of mutations fits the source, and its runner tells a test that fails from one that passes or cannot run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FAULTS = Path(__file__).with_name("faults")
sys.path.insert(0, str(FAULTS))

from mutation_list import BadMutation, read_mutations  # noqa: E402

SOURCE = '''"""A package."""


def half(number):
    if number % 2:
        raise ValueError(f"{number} is odd")
    return number // 2


def length(path):
    return len(open(path).read())
'''
TESTS = '''"""Its tests."""

import pytest
from mert_fairseq import half, length


def test_odd_numbers_are_refused():
    with pytest.raises(ValueError):
        half(3)


def test_even_numbers():
    assert half(4) == 2


def test_a_fault():
    assert half(4) == 3
'''
REFUSAL = ("    if number % 2:", "    if False:")


@pytest.mark.parametrize("mutation", read_mutations(), ids=lambda mutation: mutation.name)
def test_each_mutation_fits_the_source(mutation):
    mutation.check()


@pytest.fixture
def project(tmp_path):
    """A small repository; `list_mutation` adds to its list, `run` gives exit code and what is said."""
    (tmp_path / "root" / "mert_fairseq").mkdir(parents=True)
    (tmp_path / "root" / "mert_fairseq" / "__init__.py").write_text(SOURCE)
    (tmp_path / "root" / "tests").mkdir()
    (tmp_path / "root" / "tests" / "test_half.py").write_text(TESTS)
    (tmp_path / "mutations").mkdir()
    return tmp_path


def list_mutation(project, old, new, test="test_odd_numbers_are_refused", name="odd", file="mert_fairseq/__init__.py"):
    keys = {"what": "odd numbers are refused", "file": file, "old": old, "new": new, "test": f"tests/test_half.py::{test}"}
    text = "\n".join(f"{key} = '''{value}'''" for key, value in keys.items())
    (project / "mutations" / f"{name}.toml").write_text(text)


#: The command, but for the libraries that it imports first.
PROGRAM = """
import sys
from pathlib import Path
from run_mutations import main
sys.exit(main(["--processes", "1", *sys.argv[2:]], Path(sys.argv[1], "root"), Path(sys.argv[1], "mutations")))
"""


def run(project, *arguments):
    command = [sys.executable, "-c", PROGRAM, str(project), *arguments]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(FAULTS)}, capture_output=True, text=True)
    assert (project / "root" / "mert_fairseq" / "__init__.py").read_text() == SOURCE  # only copies are edited
    return done.returncode, done.stdout + done.stderr


def test_a_protection_that_is_tested(project):
    list_mutation(project, *REFUSAL)
    code, said = run(project)
    assert code == 0 and "odd numbers are refused" in said and "1 protections taken out, 1 seen, 0 not" in said


def test_a_protection_that_is_not(project):
    list_mutation(project, *REFUSAL)
    list_mutation(project, *REFUSAL, test="test_even_numbers", name="untested")
    code, said = run(project)
    assert code == 1 and "untested: SURVIVED" in said and "2 protections taken out, 1 seen, 1 not" in said
    assert run(project, "odd")[0] == 0


@pytest.mark.parametrize(
    "old, new, said",
    [
        ("from_nowhere", "x", "`old` occurs 0 times"),
        ("number", "x", "`old` occurs 4 times"),
        ("number % 2:", "number % 2", "no Python comes of it"),
        ('''"{number} is odd"''', '''"{number} is odd" ''', "the program stays the same"),
    ],
)
def test_mutations_that_are_none(project, old, new, said):
    list_mutation(project, old, new)
    code, text = run(project)
    assert code == 2 and said in text


@pytest.mark.parametrize(
    "old, new, said",
    [
        ("number % 2:", "numbr % 2:", "F821"),
        ('"""A package."""', "import no_such_module", "not collected"),
        ("    return number // 2", "    import no_such_module\n    return no_such_module", "ModuleNotFoundError"),
        ("    return number // 2", "    raise TimeoutError('it hangs')", "TIMED OUT: TimeoutError: it hangs"),
    ],
)
def test_failures_that_are_not_the_tests(project, old, new, said):
    list_mutation(project, old, new, test="test_even_numbers")
    code, text = run(project)
    assert code == 1 and said in text


def test_a_mutation_that_only_hangs(project, monkeypatch):
    """Is ended, and is no catch: of a test that takes too long nobody knows what it would have said."""
    list_mutation(project, "    return number // 2", "    while True:\n        pass", test="test_even_numbers")
    monkeypatch.setattr(sys.modules[__name__], "PROGRAM", "import mutated_tree\nmutated_tree.LIMIT_S = 3\n" + PROGRAM)
    code, said = run(project)
    assert code == 1 and "odd: TIMED OUT: more than 3 s" in said and "1 protections taken out, 0 seen, 1 not" in said


def test_a_test_that_fails_anyway(project):
    list_mutation(project, *REFUSAL, test="test_a_fault")
    code, said = run(project)
    assert code == 2 and "tests must pass where nothing is taken out; not passed: tests/test_half.py::test_a_fault" in said


def test_names_that_are_not_there(project):
    list_mutation(project, *REFUSAL, test="test_of_nothing")
    assert "no such test" in run(project)[1]
    assert run(project, "even") == (2, "run_mutations: no such mutation: even; there are odd\n")
    list_mutation(project, *REFUSAL, file="mert_fairseq/other.py")
    assert "no such file mert_fairseq/other.py" in run(project)[1]


def test_a_package_from_elsewhere_is_not_tested(project):
    """Where the copy is not what is imported, nothing is run."""
    changes = {"PYTHONPATH": f"{project / 'root'}:{FAULTS}", "MUTATION_TREE": str(project / "copy")}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "mutation_outcome", "tests/test_half.py"]
    done = subprocess.run(command, cwd=project / "root", env={**os.environ, **changes}, capture_output=True, text=True)
    assert done.returncode == 4 and f"would be tested, not the copy in {project / 'copy'}" in done.stderr + done.stdout


def test_a_file_with_other_keys(project):
    (project / "mutations" / "x.toml").write_text("what = 'x'")
    with pytest.raises(BadMutation, match="needs the texts file, new, old, test, what, has what"):
        read_mutations(folder=project / "mutations")
