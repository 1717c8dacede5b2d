"""A small wav2vec 2.0 as transformers saves it, and a stand-in for the package that fetches code from the Hub."""

from pathlib import Path

import pytest

SMALL = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, conv_dim=(8,) * 7)
#: Of `kernels`: what transformers takes from it at import does nothing, and what would fetch code makes a file.
KERNELS = """
class Anything:
    def __init__(self, *given, **named): pass
    def __getattr__(self, name): return Anything()
    def __call__(self, *given, **named): return lambda made: made

def __getattr__(name):
    if name.startswith("__"): raise AttributeError(name)
    return Anything()

Mode = Anything()

def get_kernel(*given, **named):
    open({canary!r}, "w").close()
    raise RuntimeError("nothing is fetched in a test")
"""


def save_wav2vec(folder: Path, normalise: bool = True) -> Path:
    """Two layers of width 16 at 16 kHz, 50 frames per second."""
    transformers = pytest.importorskip("transformers")
    config = transformers.Wav2Vec2Config(**SMALL, num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2)
    transformers.Wav2Vec2Model(config).save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(sampling_rate=16_000, do_normalize=normalise).save_pretrained(folder)
    return folder


def write_kernels(folder: Path, canary: Path) -> Path:
    """The stand-in, of a version that transformers takes, in a folder for PYTHONPATH."""
    (folder / "kernels").mkdir(parents=True)
    (folder / "kernels" / "__init__.py").write_text(KERNELS.format(canary=str(canary)))
    (folder / "kernels-0.18.2.dist-info").mkdir()
    (folder / "kernels-0.18.2.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: kernels\nVersion: 0.18.2\n")
    (folder / "kernels-0.18.2.dist-info" / "top_level.txt").write_text("kernels\n")
    return folder
