"""Lists the refusals of the package that no mutation takes out by itself: `python tests/faults/unmutated_raises.py`.

For whoever looks for gaps; not each is one: a mutation may take out the call of the whole check, or another refusal stand behind it.
"""

import ast
import sys
from pathlib import Path
from typing import Iterator, List, Set, Tuple

from mutation_list import ROOT, read_mutations

sys.path.insert(0, str(ROOT / "tests"))

from error_messages import RAISED

BLOCKS = (ast.If, ast.Try, ast.With, ast.For, ast.While)


def refusals(source: str) -> Iterator[Tuple[int, range]]:
    """(line of a refusal, lines from what decides on it to its end)."""

    def walk(node: ast.AST, first: int) -> Iterator[Tuple[int, range]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Raise) and _name(child.exc) in RAISED:
                yield child.lineno, range(first or child.lineno, child.end_lineno + 1)
            yield from walk(child, child.lineno if isinstance(child, (*BLOCKS, ast.ExceptHandler)) else first)

    yield from walk(ast.parse(source), 0)


def _name(raised: "ast.expr | None") -> str:
    function = raised.func if isinstance(raised, ast.Call) else None
    return getattr(function, "attr", getattr(function, "id", ""))


def mutated_lines(path: Path) -> Set[int]:
    """Lines of a file that a mutation changes."""
    source, found = path.read_text(encoding="utf-8"), set()
    for mutation in read_mutations():
        place = source.find(mutation.old) if ROOT / mutation.file == path else -1
        if place >= 0:
            first = source.count("\n", 0, place + len(mutation.old) - len(mutation.old.lstrip("\n"))) + 1
            found |= set(range(first, first + mutation.old.strip("\n").count("\n") + 1))
    return found


def unmutated(path: Path) -> List[int]:
    """Lines of the refusals that no mutation of this file touches."""
    touched = mutated_lines(path)
    return [line for line, lines in refusals(path.read_text(encoding="utf-8")) if not touched.intersection(lines)]


def main() -> None:
    total = 0
    for path in sorted((ROOT / "mert_fairseq").rglob("*.py")):
        lines = path.read_text(encoding="utf-8").splitlines()
        for line in unmutated(path):
            total += 1
            print(f"{path.relative_to(ROOT)}:{line}: {lines[line - 1].strip()}")
    print(f"{total} refusals that no mutation touches")


if __name__ == "__main__":
    main()
