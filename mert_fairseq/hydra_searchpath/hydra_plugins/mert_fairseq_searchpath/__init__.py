"""Lets Hydra find the installed configs; Hydra looks for plugins in the namespace package `hydra_plugins`, where setup.py puts this.

It also has fairseq import common.user_dir before a training writes in its run folder and chooses how to launch, so that the package
there has a say in both.
It must not import mert_fairseq: fairseq does that later, by the path in common.user_dir, and refuses a second copy of the name.
"""

import importlib.util
import sys
from pathlib import Path

import hydra.core.utils
from hydra.core.config_search_path import ConfigSearchPath
from hydra.errors import CompactHydraException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra_plugins.mert_fairseq_searchpath.swept_overrides import SweptOverrides
from omegaconf import OmegaConf


class MertSearchPath(SearchPathPlugin):
    """Adds the package's config folder, and the resolvers ${mert_fairseq_dir:}, for common.user_dir, and ${mert_swept:...}."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Called by Hydra before it composes a config."""
        if "fairseq.distributed.utils" in sys.modules:
            import_user_dir_first()
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
    import_user_dir_first()
    return PackageFolder(folder)


def import_user_dir_first() -> None:
    """Wraps Hydra's opening of a job's log, once: the first call imports the user's package, which may put its own in place, and goes on
    there."""
    stock = hydra.core.utils.configure_log
    if stock.__module__ != hydra.core.utils.__name__:
        return

    def configure_log(log_config, verbose_config=False):
        hydra.core.utils.configure_log = stock
        if log_config is not None:
            _import_user_dir(log_config._get_root().get("common"))
        return hydra.core.utils.configure_log(log_config, verbose_config)

    hydra.core.utils.configure_log = configure_log


def _import_user_dir(common) -> None:
    """fairseq's import of what the configuration's group `common` names; what is not there is one line."""
    from fairseq.utils import import_user_module

    try:
        import_user_module(common)
    except FileNotFoundError as error:
        if error.errno is not None:  # of a file that the package itself opens
            raise
        raise CompactHydraException(
            f"common.user_dir={common.user_dir}: no such folder; leave it out for the installed package, or give a checkout's: "
            "common.user_dir=$PWD/mert_fairseq"
        ) from None
