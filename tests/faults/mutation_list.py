"""The list of mutations: for each protection of the package the change that takes it out, and the test that must then fail.

One file each in mutations/, named after the protection:

    what = "a shard's array is compared with its JSON"
    file = "mert_fairseq/data/shard.py"
    old = '''    if array.shape != expected or array.dtype != info.dtype:'''
    new = '''    if False:'''
    test = "tests/data/test_damaged_stores.py::test_a_damaged_shard_is_named_with_the_mend"
"""

import ast
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import List, Sequence

ROOT = Path(__file__).parents[2]
FOLDER = Path(__file__).with_name("mutations")


class BadMutation(ValueError):
    """A mutation that does not fit the source, or is none."""


@dataclass(frozen=True)
class Mutation:
    """What is protected and how the protection is taken out.

    Attributes:
        name: of the file without its suffix.
        what: the protection, in words.
        file: below the repository.
        old, new: text that occurs once, and what takes its place.
        test: a pytest id, `tests/file.py::test_name`.
    """

    name: str
    what: str
    file: str
    old: str
    new: str
    test: str

    def apply(self, source: str) -> str:
        """The source without the protection. Raises BadMutation where `old` is not there exactly once or no program comes of it."""
        count = source.count(self.old)
        if count != 1:
            raise BadMutation(f"{self.name}: `old` occurs {count} times in {self.file}, must be once")
        mutant = source.replace(self.old, self.new)
        if self.file.endswith(".py"):
            try:
                same = ast.dump(ast.parse(mutant)) == ast.dump(ast.parse(source))
            except SyntaxError as error:
                raise BadMutation(f"{self.name}: no Python comes of it ({error})") from error
            if same:
                raise BadMutation(f"{self.name}: the program stays the same")
        return mutant

    def check(self, root: Path = ROOT) -> None:
        """Raises BadMutation where file or test is not there, or the mutation does not fit."""
        path, (test_file, _, test_name) = root / self.file, self.test.partition("::")
        if not path.is_file():
            raise BadMutation(f"{self.name}: no such file {self.file}")
        function = test_name.partition("[")[0].rpartition("::")[2]
        if not (root / test_file).is_file() or f"def {function}(" not in (root / test_file).read_text(encoding="utf-8"):
            raise BadMutation(f"{self.name}: no such test {self.test}")
        self.apply(path.read_text(encoding="utf-8"))


def read_mutations(names: Sequence[str] = (), folder: Path = FOLDER) -> List[Mutation]:
    """All mutations in the order of their names, or those named."""
    found = [_read(path) for path in sorted(folder.glob("*.toml"))]
    unknown = set(names) - {mutation.name for mutation in found}
    if unknown:
        raise BadMutation(f"no such mutation: {', '.join(sorted(unknown))}; there are {', '.join(mutation.name for mutation in found)}")
    return [mutation for mutation in found if not names or mutation.name in names]


def _read(path: Path) -> Mutation:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadMutation(f"{path.name}: {error}") from error
    keys = {field.name for field in fields(Mutation)} - {"name"}
    if content.keys() != keys or not all(isinstance(value, str) and value for key, value in content.items() if key != "new"):
        raise BadMutation(f"{path.name}: needs the texts {', '.join(sorted(keys))}, has {', '.join(sorted(content))}")
    return Mutation(path.stem, **content)
