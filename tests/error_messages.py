"""The messages that the source can raise or warn with, as the catalogue has them: what is filled in when they are shown is `{…}`."""

import ast
import re
from functools import cache
from pathlib import Path
from typing import Dict, Iterator, NamedTuple, Optional

import mert_fairseq

PACKAGE = Path(mert_fairseq.__file__).parent
RAISED = {"MertError", "AudioError", "DamagedFiles", "NoMatplotlib", "InputFault", "_Fault", "ArgumentTypeError", "CompactHydraException"}
SHOWN = {"parser.error", "logger.warning", "logger.exception"}
HOLE = "{…}"


class Message(NamedTuple):
    """Attributes: text: with holes; place: file and line."""

    text: str
    place: str


def messages() -> Iterator[Message]:
    """All of the package and of slurm/submit.py; without those that only pass on another's text."""
    for path in sorted([*PACKAGE.rglob("*.py"), PACKAGE.parent / "slurm" / "submit.py"]):
        constants = _constants(path)
        for node in ast.walk(_parsed(path)):
            if isinstance(node, ast.Call) and node.args and _is_shown(node.func):
                texts = _texts(node.args[0], constants)
                place = f"{path.relative_to(PACKAGE.parent)}:{node.lineno}"
                yield from (Message(text, place) for text in texts if re.search("[A-Za-z]", text.replace(HOLE, "")))


def _is_shown(function: ast.expr) -> bool:
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name in RAISED or ast.unparse(function) in SHOWN


@cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def _constants(path: Path) -> Dict[str, str]:
    """Texts that a module gives a name, or takes from another of the package."""
    found: Dict[str, str] = {}
    for node in _parsed(path).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mert_fairseq."):
            other = PACKAGE.parent.joinpath(*node.module.split(".")).with_suffix(".py")
            theirs = _constants(other) if other.is_file() else {}
            found |= {alias.asname or alias.name: theirs[alias.name] for alias in node.names if alias.name in theirs}
        elif isinstance(node, ast.Assign):
            targets, values = node.targets[0], node.value
            several = isinstance(targets, ast.Tuple) and isinstance(values, ast.Tuple)
            for target, value in zip(targets.elts, values.elts) if several else [(targets, values)]:
                if isinstance(target, ast.Name) and isinstance(value, (ast.Constant, ast.JoinedStr)) and (text := _text(value, found)):
                    found[target.id] = text
    return found


def _texts(node: ast.expr, constants: Dict[str, str]) -> Iterator[str]:
    """One, or both of a choice between two."""
    if isinstance(node, ast.IfExp):
        yield from (*_texts(node.body, constants), *_texts(node.orelse, constants))
    elif (text := _text(node, constants)) is not None:
        yield text


def _text(node: ast.expr, constants: Dict[str, str]) -> Optional[str]:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(_part(part, constants) for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return f"{_text(node.left, constants) or HOLE}{_text(node.right, constants) or HOLE}"
    return constants.get(node.id, HOLE) if isinstance(node, ast.Name) else HOLE


def _part(part: ast.expr, constants: Dict[str, str]) -> str:
    if isinstance(part, ast.Constant):
        return part.value
    filled = part.value if isinstance(part, ast.FormattedValue) else None
    return constants.get(filled.id, HOLE) if isinstance(filled, ast.Name) else HOLE
