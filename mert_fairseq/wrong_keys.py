"""A wrong key or value of the configuration is named in one line instead of a traceback."""

import functools

from omegaconf import OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

from mert_fairseq.errors import MertError


def name_wrong_keys(merge):
    """Wraps fairseq's merge of a config group with its data class."""

    @functools.wraps(merge)
    def merge_with_parent(dc, cfg, remove_missing=False):
        """fairseq's merge; a key or value that the data class does not take becomes a MertError of one line."""
        try:
            return merge(dc, cfg, remove_missing)
        except OmegaConfBaseException as error:
            reason = str(error).splitlines()[0]
            key = str(error.full_key or error.key or _wrong_key(dc, cfg))
            reason += f" ({key})" if key not in reason else ""
            if isinstance(error, ConfigKeyError):
                reason += f"; allowed: {', '.join(sorted(key for key in dc.__dataclass_fields__ if key != '_name'))}"
            raise MertError(f"configuration of {cfg.get('_name')!r}: {reason}") from None  # Hydra would print the cause too

    return merge_with_parent


def _wrong_key(dc, cfg) -> str:
    """The first key whose value does not fit, where the error does not name it; a mapping for a list, say."""
    schema = OmegaConf.structured(dc if isinstance(dc, type) else type(dc))
    for key in cfg:
        try:
            OmegaConf.merge(schema, {key: cfg[key]})
        except OmegaConfBaseException:
            return str(key)
    return ""
