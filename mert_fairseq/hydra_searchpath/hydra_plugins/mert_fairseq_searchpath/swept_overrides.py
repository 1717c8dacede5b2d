"""Names of a sweep's run folders: what is swept and nothing else, so that another log interval, say, goes on in the same folders."""

import hashlib
from typing import List, Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

LONGEST = 200  # bytes; file systems take 255


class SweptOverrides:
    """Resolver of ${mert_swept:${hydra.overrides.task}}.

    Args:
        arguments: the command line, which says what is swept; jobs of a launcher, which have another, are sent this object.
    """

    def __init__(self, arguments: Sequence[str]):
        parser, self.keys = OverridesParser.create(), set()
        for word in arguments:
            try:
                override = parser.parse_override(word)
            except HydraException:  # an option, or what Hydra itself is about to refuse
                continue
            if override.is_sweep_override():
                self.keys.add(override.key_or_group)

    def __call__(self, overrides: List[str]) -> str:
        """Of one job of the sweep; all its overrides where the command line sweeps nothing."""
        swept = [word for word in overrides if word.lstrip("+").split("=")[0] in self.keys] or list(overrides)
        name = ",".join(sorted(swept)).replace("/", "_")
        if len(name.encode()) <= LONGEST:
            return name
        return f"{name[: LONGEST // 4]}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"
