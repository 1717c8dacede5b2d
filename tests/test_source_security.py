"""The source, walked: what no line of it may do, and the few places that are looked at by hand.

Nothing runs text as code, unpickles, starts a shell, unpacks an archive or takes code along with a model; and no library prints.
"""

import ast
from pathlib import Path

import pytest
from test_package import MODULES, ROOT, parse, within

PICKLES = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
UNPICKLING = {"load", "loads", "Unpickler", "open", "pickle_load", "_load_from_bytes"}
RUNNING = {"eval", "exec", "compile", "__import__", "input", "breakpoint", "os.system", "os.popen", "os.startfile", "pty.spawn"}
RUNNING |= {"subprocess.getoutput", "subprocess.getstatusoutput", "torch.hub.load", "runpy.run_path", "runpy.run_module", "tempfile.mktemp"}
RUNNING |= {"torch.jit.load", "torch.package.PackageImporter", "pandas.read_pickle", "numpy.lib.format.read_array"}
#: Other names of what is above.
SAME = {"torch.serialization.load": "torch.load", "pandas.io.pickle.read_pickle": "pandas.read_pickle", "np.load": "numpy.load"}
UNPACKING = {"extractall", "extract", "unpack_archive", "_extractall"}
UNSAFE_YAML = {"load", "load_all", "unsafe_load", "full_load"}
SAFE_LOADERS = {"SafeLoader", "CSafeLoader"}
#: Harmful by being named at all, as in `map(eval, texts)` or `read = torch.load`: a later call would not show what it calls.
HARMFUL_NAMES = {f"builtins.{name}" for name in RUNNING if "." not in name} | {name for name in RUNNING if "." in name}
HARMFUL_NAMES |= {f"{module}.{name}" for module in PICKLES for name in UNPICKLING} - {"shelve.loads"}
HARMFUL_NAMES |= {"eval", "exec", "compile", "__import__", "torch.load", "yaml.load", "yaml.unsafe_load", "shutil.unpack_archive"}
#: What is allowed after all: module, reason as below, why.
LOOKED_AT = {
    ("cli.shard_run", "import of cloudpickle"): "registers modules by value, for jobs that submitit writes; reads nothing",
    ("cli.slurm_jobs", "import of cloudpickle"): "the same",
    ("cli.job_watch", "pickle_load"): "submitit hands on a job's result as a pickle in a folder of the user's own (slurm/README.md)",
}
PROGRAMS = sorted([*(ROOT.parent / "slurm").glob("*.py"), *(ROOT.parent / "examples").glob("*.py"), ROOT.parent / "setup.py"])


def imported(tree):
    """{name in the module: dotted name of what it stands for}, whatever it was imported as."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update({alias.asname: alias.name for alias in node.names if alias.asname})
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.update({alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names})
    return found


def dotted(node, names):
    """Full name of a name or an attribute; of a method of a call's result `().name`."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    first = names.get(node.id, node.id) if isinstance(node, ast.Name) else "()"
    name = ".".join([first, *reversed(parts)])
    return SAME.get(name, name)


def called(node, names=()):
    """Full name of what a call calls."""
    return dotted(node.func, dict(names))


def unlike(node, name, value):
    """Whether a call gives the keyword argument `name` as anything but that constant; a value found only when it runs is one."""
    return any(keyword.arg == name and getattr(keyword.value, "value", keyword) is not value for keyword in node.keywords)


def lacks(node, name):
    return not any(keyword.arg == name for keyword in node.keywords)


def harm_of_call(node, names, prints_allowed):
    """Why a call is not allowed; None where it is."""
    name = called(node, names)
    module, _, last = name.rpartition(".")
    if name in RUNNING or (module == "builtins" and last in RUNNING) or (module == "os" and last.startswith(("exec", "spawn"))):
        return name
    if (name.split(".")[0] in PICKLES and last in UNPICKLING) or last in ("pickle_load", "_load_from_bytes"):
        return last if last == "pickle_load" else name
    if last in UNPACKING and module != "re":
        return f"archives are not unpacked: {name}"
    if module == "yaml" and last in UNSAFE_YAML:
        loaders = {getattr(part, "attr", getattr(part, "id", "")) for part in [*node.args[1:], *(word.value for word in node.keywords)]}
        if last in ("unsafe_load", "full_load") or not loaders & SAFE_LOADERS:
            return f"{name} without a safe loader"
    if name in ("subprocess.run", "subprocess.Popen", "subprocess.call", "subprocess.check_call", "subprocess.check_output"):
        if any(keyword.arg is None for keyword in node.keywords) and lacks(node, "shell"):
            return f"{name} with keywords that are not seen: shell may be among them; give shell=False"
    if name == "numpy.load" and len(node.args) > 2:
        return "numpy.load with allow_pickle by its place"
    if name == "torch.load" and (lacks(node, "weights_only") or unlike(node, "weights_only", True)):
        return "torch.load without weights_only=True"
    if last == "from_pretrained" and module.startswith("Auto") and lacks(node, "trust_remote_code"):
        return f"{name} without trust_remote_code=False: it would ask whether to run the folder's code"
    for keyword, only in (("shell", False), ("weights_only", True), ("allow_pickle", False), ("trust_remote_code", False)):
        if unlike(node, keyword, only):
            return f"{keyword} is not {only}"
    return name if name in {"print", "sys.stdout.write"} and not prints_allowed else None


def harm_of_import(node):
    """Why an import is not allowed: of what unpickles, by whatever name it would be called; None where it is."""
    for alias in node.names:
        module = alias.name if isinstance(node, ast.Import) else (node.module or "")
        taken = alias.name if isinstance(node, ast.ImportFrom) else None
        if module.split(".")[0] in PICKLES and taken != "UnpicklingError":
            return f"import of {taken} from {module}" if taken else f"import of {module}"
        if taken and SAME.get(f"{module}.{taken}", f"{module}.{taken}") in HARMFUL_NAMES:
            return f"import of {taken} from {module}"
    return None


def harmful(tree, prints_allowed=False):
    """(line, reason) of all that is not allowed, wherever in a module."""
    found, names = [], imported(tree)
    calls = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        reason = None
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            reason = "bare except"
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            reason = harm_of_import(node)
        elif isinstance(node, ast.Attribute) and node.attr in ("__reduce__", "__globals__", "__subclasses__", "__builtins__"):
            reason = node.attr
        elif isinstance(node, ast.Call):
            reason = harm_of_call(node, names, prints_allowed)
        elif isinstance(node, (ast.Name, ast.Attribute)) and id(node) not in calls and isinstance(node.ctx, ast.Load):
            name = dotted(node, names)
            reason = f"{name} is named" if name in HARMFUL_NAMES else None
        if reason:
            found.append((node.lineno, reason))
    return found


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module or "mert_fairseq")
def test_nothing_harmful(module):
    found = harmful(parse(MODULES[module]), prints_allowed=within(module, "cli"))
    assert [(line, reason) for line, reason in found if (module, reason) not in LOOKED_AT] == []


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.name)
def test_nothing_harmful_in_programs_beside_the_package(path):
    assert harmful(parse(path), prints_allowed=True) == []


def test_what_was_looked_at_is_still_there():
    for module, reason in LOOKED_AT:
        assert reason in [found for _, found in harmful(parse(MODULES[module]), prints_allowed=True)]


@pytest.mark.parametrize(
    "line",
    [
        "eval('1')",
        "exec('x = 1')",
        "compile(text, 'name', 'exec')",
        "builtins.eval('1')",
        "__import__('os')",
        "input('go on? ')",
        "pickle.load(file)",
        "pickle.loads(data)",
        "pickle.Unpickler(file).load()",
        "marshal.loads(data)",
        "joblib.load(path)",
        "shelve.open(path)",
        "from pickle import loads",
        "from torch import load",
        "from submitit.core.utils import pickle_load\npickle_load(path)",
        "torch.storage._load_from_bytes(data)",
        "subprocess.run('ls', shell=True)",
        "subprocess.run(command, shell=wanted)",
        "subprocess.getoutput('ls')",
        "os.execv(path, [])",
        "torch.load(path, weights_only=False)",
        "torch.load(path)",
        "torch.load(path, weights_only=safe)",
        "torch.hub.load('owner/name', 'model')",
        "numpy.load(path, allow_pickle=True)",
        "numpy.load(path, allow_pickle=pickled)",
        "AutoModel.from_pretrained(folder)",
        "AutoModel.from_pretrained(folder, trust_remote_code=True)",
        "pipeline('x', trust_remote_code=True)",
        "yaml.load(text)",
        "yaml.load(text, Loader=yaml.Loader)",
        "yaml.unsafe_load(text)",
        "tarfile.open(path).extractall(folder)",
        "archive.extract(name, folder)",
        "shutil.unpack_archive(path)",
        "os.system('ls')",
        "function.__globals__['eval']",
        "try:\n    pass\nexcept:\n    pass",
        "def f():\n    print('x')",
    ],
)
def test_harm_would_be_seen(line):
    assert harmful(ast.parse(line))


@pytest.mark.parametrize(
    "line",
    [
        "import pickle as p\np.load(file)",
        "from joblib import load",
        "from dill import loads as read",
        "import os as o\no.system('ls')",
        "import torch as t\nt.load(path)",
        "from torch import load as read\nread(path)",
        "load = torch.load\nload(path)",
        "torch.serialization.load(path)",
        "from torch.serialization import load",
        "torch.jit.load(path)",
        "import pandas as pd\npd.read_pickle(path)",
        "class U(pickle.Unpickler):\n    pass",
        "import numpy as np\nnp.load(path, None, True)",
        "subprocess.run(command, **settings)",
        "from subprocess import getoutput",
        "from torch.hub import load",
        "list(map(eval, texts))",
        "from builtins import eval as read",
    ],
)
def test_harm_by_another_name_would_be_seen(line):
    assert harmful(ast.parse(line))


@pytest.mark.parametrize(
    "line",
    [
        "model.eval()",
        "torch.load(p, weights_only=True)",
        "subprocess.run(['ls'], shell=False)",
        "safetensors.torch.load(d)",
        "re.compile('a')",
        "numpy.load(p, allow_pickle=False)",
        "yaml.safe_load(text)",
        "yaml.load(text, Loader=yaml.SafeLoader)",
        "OmegaConf.load(path)",
        "AutoModel.from_pretrained(folder, trust_remote_code=False)",
        "open(path)",
    ],
)
def test_harmless_lines_are_not(line):
    assert harmful(ast.parse(line)) == []


def test_prints_are_for_commands():
    assert harmful(ast.parse("print('x')"), prints_allowed=True) == []


def test_classes_that_the_safe_loader_makes():
    """Each further one is something that a stranger's checkpoint may make."""
    calls = [node for node in ast.walk(parse(MODULES["host"])) if isinstance(node, ast.Call)]
    allowing = [node for node in calls if called(node).endswith("add_safe_globals")]
    assert [ast.unparse(node.args[0]) for node in allowing] == ["[Dictionary, argparse.Namespace]"]
    assert [module for module, path in MODULES.items() if "safe_globals" in Path(path).read_text("utf-8")] == ["host"]
