"""The package as a whole: which part may import which, and what importing it registers."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import mert_fairseq

ROOT = Path(mert_fairseq.__file__).parent
BASE = {"errors", "class_ids", "frames", "json_hash", "json_text", "setting_ranges", "weight_norm"}
BELOW = BASE | {"data", "folder_lock", "teachers", "tasks", "models", "criterions", "host", "checkpoints", "launch"}

#: What each part of the package may import of the others; the first name that fits is taken. A part may import itself.
ALLOWED = {
    "errors": set(),
    "frames": {"errors"},
    "class_ids": set(),
    "json_hash": set(),
    "setting_ranges": {"errors"},
    "weight_norm": set(),
    "json_text": set(),
    "checkpoint_limits": set(),
    "checkpoints": {"checkpoint_limits", "class_ids", "errors"},
    "allocator": set(),
    "resident_memory": set(),
    "folder_lock": {"errors"},
    "checkpoint_files": {"errors"},
    "launch": {"checkpoint_files", "errors", "folder_lock", "setting_ranges"},
    "resume": {"checkpoint_files", "checkpoints", "errors", "json_text"},
    "wrong_keys": {"errors"},
    "host": {"allocator", "checkpoint_files", "checkpoints", "errors", "launch", "resume", "tasks.nonfinite", "wrong_keys"},
    "data": BASE | {"folder_lock"},
    "teachers.cqt": BASE | {"teachers.cqt_kernels"},
    "teachers.cqt_kernels": BASE,
    "teachers": BASE | {"checkpoint_limits", "data"},
    "models": BASE | {"teachers.cqt", "teachers.cqt_kernels"},
    "criterions": BASE,
    "tasks": BASE | {"data", "launch.interruption", "models.mert.config", "resident_memory"},
    "report": BELOW,
    "probe": BELOW | {"export", "resident_memory"},
    "export": BELOW | {"report.run_log"},
    "cli": BELOW | {"allocator", "report", "probe", "export"},
    "hydra_searchpath": set(),
    "": {"host", "criterions", "models", "tasks"},
}


def modules():
    """Dotted name below mert_fairseq of every module, and its file; the package itself is "", a subpackage its folder's name."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports(tree, module, is_package=False):
    """Names below mert_fairseq that a module imports, wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                here = ["mert_fairseq", *(module.split(".") if module else [])]
                base = ".".join(here[: len(here) - node.level + is_package] + ([node.module] if node.module else []))
            # "from package import module" imports the module, "from module import name" the module alone.
            names = [f"{base}.{alias.name}" if f"{base}.{alias.name}"[13:] in MODULES else base for alias in node.names]
        else:
            continue
        yield from (name[13:] for name in names if name == "mert_fairseq" or name.startswith("mert_fairseq."))


def within(name, part):
    return name == part or name.startswith(f"{part}.")


def rule_of(module):
    return next((part for part in ALLOWED if part and within(module, part)), "" if module == "" else None)


def forbidden_imports(tree, module, is_package=False):
    """Imports against ALLOWED; a module of no known part is one as well."""
    rule = rule_of(module)
    if rule is None:
        return [f"{module}: of no part that ALLOWED names"]
    return [
        f"{module or 'mert_fairseq'} imports {name or 'mert_fairseq'}"
        for name in imports(tree, module, is_package)
        if not any(within(name, part) for part in ALLOWED[rule]) and not (rule and within(name, rule))
    ]


def parse(path):
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module or "mert_fairseq")
def test_imports_point_one_way(module):
    path = MODULES[module]
    assert forbidden_imports(parse(path), module, path.name == "__init__.py") == []


@pytest.mark.parametrize(
    "module, line, seen",
    [
        ("frames", "from mert_fairseq.data.audio import read_audio", True),
        ("data.audio", "from mert_fairseq.teachers.cqt import FastCQT", True),
        ("data.audio", "def read():\n    from mert_fairseq.tasks import MERTPretrainingTask", True),
        ("data.audio", "import mert_fairseq.models.mert", True),
        ("data.audio", "from mert_fairseq.data.manifest import Manifest", False),
        ("data.audio", "from ..teachers import cqt", True),
        ("data.audio", "from .manifest import Manifest", False),
        ("data.audio", "import mert_fairseq", True),
        ("teachers.cqt", "from mert_fairseq.data.audio import read_audio", True),
        ("teachers.rvqvae", "from mert_fairseq.data.audio import read_audio", False),
        ("teachers.rvqvae", "from mert_fairseq.models.mert import MERTModel", True),
        ("models.mert.model", "from mert_fairseq.teachers.cqt import FastCQT", False),
        ("models.mert.model", "from mert_fairseq.teachers.rvqvae import RVQVAE", True),
        ("models.mert.model", "from mert_fairseq.teachers import rvqvae", True),
        ("models.mert.model", "from mert_fairseq.data.manifest import Manifest", True),
        ("criterions.mert", "from mert_fairseq.data.target_store import TargetStore", True),
        ("criterions.mert", "from mert_fairseq import data", True),
        ("tasks.mert_pretraining", "from mert_fairseq.models.mert.config import conv_layers_of", False),
        ("tasks.mert_pretraining", "from mert_fairseq.report.learning import table", True),
        ("report.learning", "from mert_fairseq.data.manifest import read_manifest", False),
        ("report.learning", "from mert_fairseq.cli.main import main", True),
        ("cli.report", "from mert_fairseq.report.learning import table", False),
        ("helpers", "import os", True),
    ],
)
def test_a_wrong_import_would_be_seen(module, line, seen):
    assert bool(forbidden_imports(ast.parse(line), module)) == seen


def test_no_part_imports_in_a_circle():
    graph = {}
    for module, path in MODULES.items():
        graph[module] = {name for name in imports(parse(path), module, path.name == "__init__.py") if name in MODULES}
    done = set()
    while len(done) < len(graph):
        ready = {module for module, needed in graph.items() if module not in done and needed <= done}
        assert ready, f"in a circle: {sorted(set(graph) - done)}"
        done |= ready


def test_every_module_is_looked_at():
    assert {"", "frames", "data.mert_dataset", "teachers.cqt", "models.mert.model", "criterions.mert", "cli.main"} <= set(MODULES)
    assert len(MODULES) > 30


PROGRAM = """
import sys
import mert_fairseq
from fairseq.criterions import CRITERION_DATACLASS_REGISTRY, CRITERION_REGISTRY
from fairseq.models import MODEL_DATACLASS_REGISTRY, MODEL_REGISTRY
from fairseq.tasks import TASK_DATACLASS_REGISTRY, TASK_REGISTRY
for registry in (TASK_REGISTRY, MODEL_REGISTRY, CRITERION_REGISTRY):
    print(*sorted(name for name, found in registry.items() if found.__module__.startswith("mert_fairseq")))
print(TASK_DATACLASS_REGISTRY["mert_pretraining"].__name__)
print(MODEL_DATACLASS_REGISTRY["mert"].__name__)
print(CRITERION_DATACLASS_REGISTRY["mert"].__name__)
print(*sorted(name for name in sys.modules if name.startswith(("mert_fairseq.cli", "mert_fairseq.report", "nnAudio", "encodec"))))
"""


def test_import_alone_registers_task_model_and_criterion():
    """And nothing else: no other names, no commands, no teacher's libraries."""
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT.parent, check=True)
    lines = result.stdout.splitlines()
    assert lines[:3] == ["mert_pretraining", "mert", "mert"]
    assert lines[3:6] == ["MERTPretrainingConfig", "MERTConfig", "MERTCriterionConfig"]
    assert lines[6:] == [""]


def test_what_the_package_offers():
    assert sorted(mert_fairseq.__all__) == ["MERTCriterion", "MERTModel", "MERTPretrainingTask"]
    assert all(hasattr(mert_fairseq, name) for name in mert_fairseq.__all__)
