"""Lets Hydra find the installed configs; Hydra looks for plugins in the namespace package `hydra_plugins`, where setup.py puts this.

It also has fairseq import common.user_dir before it chooses how to launch, so that the package there has a say in it.
It must not import mert_fairseq: fairseq does that later, by the path in common.user_dir, and refuses a second copy of the name.
"""

import importlib.util
import sys
from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra_plugins.mert_fairseq_searchpath.swept_overrides import SweptOverrides
from omegaconf import OmegaConf


class MertSearchPath(SearchPathPlugin):
    """Adds the package's config folder, and the resolvers ${mert_fairseq_dir:}, for common.user_dir, and ${mert_swept:...}."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Called by Hydra before it composes a config."""
        if "fairseq.distributed.utils" in sys.modules:
            import_user_dir_first(sys.modules["fairseq.distributed.utils"])
        spec = importlib.util.find_spec("mert_fairseq")
        if spec is None or not spec.submodule_search_locations:
            return
        folder = Path(next(iter(spec.submodule_search_locations))).resolve()
        search_path.append("mert_fairseq", f"file://{folder / 'config'}")
        OmegaConf.register_new_resolver("mert_fairseq_dir", PackageFolder(str(folder)), replace=True)
        OmegaConf.register_new_resolver("mert_swept", SweptOverrides(sys.argv[1:]), replace=True)


class PackageFolder:
    """Resolver of ${mert_fairseq_dir:}. Hydra's launchers send it to their jobs, where nothing else of this module is called."""

    def __init__(self, folder: str):
        self.folder = folder

    def __call__(self) -> str:
        return self.folder

    def __reduce__(self):
        return _in_a_job, (self.folder,)


def _in_a_job(folder: str) -> PackageFolder:
    from fairseq.distributed import utils as distributed_utils

    import_user_dir_first(distributed_utils)
    return PackageFolder(folder)


def import_user_dir_first(distributed_utils) -> None:
    """Wraps fairseq's call_main, once: the first call imports the user's package, which may put its own in place, and goes on there."""
    stock = distributed_utils.call_main
    if stock.__module__ != distributed_utils.__name__:
        return

    def call_main(cfg, main, **options):
        from fairseq.utils import import_user_module

        distributed_utils.call_main = stock
        import_user_module(cfg.common)
        return distributed_utils.call_main(cfg, main, **options)

    distributed_utils.call_main = call_main
