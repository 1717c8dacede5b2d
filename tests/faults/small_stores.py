"""Small target stores to damage, and how training and `mert labels check` find them then."""

import numpy as np

from mert_fairseq.data.target_store import TargetStore
from mert_fairseq.errors import MertError
from mert_fairseq.teachers.store_check import check_store

LENGTHS = (12_000, 24_100, 9_000, 31_000)
KINDS = {"codes": "codes", "cqt": "cqt", "bytes": "cqt"}  # store -> kind


class Stores:
    """Stores of two shards each, of codes and of both forms of the CQT; what is damaged is put back."""

    def __init__(self, corpus):
        self.corpus, self.manifest = corpus, corpus.manifest(LENGTHS)
        corpus.store(self.manifest, num_shards=2)
        corpus.store(self.manifest, num_shards=2, kind="cqt")
        levels = [np.round(corpus.cqt(row, length)).astype(np.uint8) for row, length in enumerate(LENGTHS)]
        corpus.store(self.manifest, levels, name="bytes", num_shards=2, kind="cqt", scale=[1.5, 2.25, 3.0])
        self.whole = {name: self.read(name) for name in KINDS}

    def folder(self, name):
        return self.corpus.labels / f"train.{name}"

    def path(self, name, suffix, shard=1):
        return self.folder(name) / f"shard-{shard:05d}-of-00002{suffix}"

    def read(self, name):
        """All rows, as training would read them."""
        store = TargetStore(self.folder(name), self.manifest, KINDS[name], 75.0)
        return [np.array(store.read(row, 0, int(store.num_frames[row]))) for row in range(len(self.manifest))]

    def start(self, name):
        """(what becomes of a start of training, the refusal)."""
        try:
            rows = self.read(name)
        except MertError as error:
            message = str(error)
            return ("refused" if str(self.folder(name)) in message and "\n" not in message else "silent"), message
        same = all(np.array_equal(row, wanted) for row, wanted in zip(rows, self.whole[name]))
        return ("survived" if same else "changed"), ""

    def found(self, name):
        """What `mert labels check` makes of it."""
        faults = check_store(self.folder(name), self.manifest, workers=1).faults
        one_line = all("\n" not in fault and str(self.folder(name)) in fault for fault in faults)
        return "refused" if faults and one_line else ("survived" if one_line else "silent")
