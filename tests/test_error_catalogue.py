"""docs/errors.md has every message of the source, and none that the source has not."""

import ast
import re
from collections import Counter
from pathlib import Path

import error_messages
import pytest
from error_messages import HOLE, messages

DOCS = Path(__file__).parents[1] / "docs" / "errors.md"
ROW = re.compile(r"\| (?:`` (?P<quoting>.+?) ``|`(?P<plain>[^`]+)`) \| (?P<cause>[^|]+) \| (?P<mend>[^|]+) \|")


def rows():
    """(line number, message, cause, what mends it) of the page's tables."""
    found = []
    for number, line in enumerate(DOCS.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("| ") and not line.startswith("| message |"):
            row = ROW.fullmatch(line)
            assert row, f"docs/errors.md:{number}: not `message` | cause | what mends it"
            found.append((number, row["quoting"] or row["plain"], row["cause"].strip(), row["mend"].strip()))
    return found


def test_every_message_is_in_the_catalogue():
    there = {message for _, message, _, _ in rows()}
    missing = {message.text: message.place for message in messages() if message.text not in there}
    quoted = {text: f"`` {text} ``" if "`" in text else f"`{text}`" for text in missing}
    lines = [f"{place}: docs/errors.md lacks the row\n| {quoted[text]} | CAUSE | WHAT MENDS IT |" for text, place in missing.items()]
    assert not missing, "\n" + "\n".join(lines)


def test_every_row_is_of_a_message():
    known = {message.text for message in messages()}
    gone = [f"docs/errors.md:{number}: no source raises {message!r}" for number, message, _, _ in rows() if message not in known]
    assert not gone, "\n" + "\n".join(gone)


def test_rows_are_whole_and_once():
    assert [message for message, count in Counter(message for _, message, _, _ in rows()).items() if count > 1] == []
    assert [number for number, _, cause, mend in rows() if len(cause) < 5 or len(mend) < 5] == []


def test_each_row_says_itself_what_mends_it():
    """Rows are looked up one at a time: "the same" is another's, and "nothing" leaves a reader with the line that brought them here."""
    evasive = re.compile("(both |it's )?(the same|nothing|as (the line|it) (says|shows))([,;] .*)?")
    assert [number for number, _, cause, mend in rows() if evasive.fullmatch(mend) or evasive.fullmatch(cause)] == []


def test_the_page_is_found():
    assert "docs/errors.md" in (DOCS.parents[1] / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "source, texts",
    [
        ('raise MertError(f"{path}: no {what} in it; run `mert`")', ["{…}: no {…} in it; run `mert`"]),
        ('MEND = "do it again"\nraise MertError(f"{path}: wrong; {MEND}")', ["{…}: wrong; do it again"]),
        ('raise MertError(f"{path}: {reason}")', []),
        ('raise MertError("a" if x else f"b {x}")', ["a", "b {…}"]),
        ('raise data.AudioError(f"{{split}} " + rest)', ["{split} {…}"]),
        ('logger.info("something")', []),
        ('logger.warning(f"{count} files: {names}")', ["{…} files: {…}"]),
        ('parser.error(f"{what}: nothing")', ["{…}: nothing"]),
    ],
)
def test_messages_are_found(source, texts, tmp_path, monkeypatch):
    (tmp_path / "package").mkdir()
    (tmp_path / "slurm").mkdir()
    (tmp_path / "slurm" / "submit.py").touch()
    (tmp_path / "package" / "module.py").write_text(source, encoding="utf-8")
    monkeypatch.setattr(error_messages, "PACKAGE", tmp_path / "package")
    assert [message.text for message in messages()] == texts


def test_no_class_of_errors_is_forgotten():
    """Each class of the package's own errors is looked for by its name."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in error_messages.PACKAGE.rglob("*.py")]
    defined = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    classes = {"MertError"}
    for _ in range(3):
        classes |= {node.name for node in defined if any(getattr(base, "id", "") in classes for base in node.bases)}
    assert classes <= error_messages.RAISED and HOLE == "{…}"
