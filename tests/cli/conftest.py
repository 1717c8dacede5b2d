"""The `mert` command in one process, and small inputs for it."""

import logging

import numpy as np
import pytest
import soundfile
import torch

from mert_fairseq.cli.main import main
from mert_fairseq.data.audio import audio_info
from mert_fairseq.data.manifest import write_manifest


@pytest.fixture
def root_logger():
    """The command sets up logging for its process; here it is given back, and so is the number of threads."""
    handlers, level, threads = logging.root.handlers[:], logging.root.level, torch.get_num_threads()
    yield
    logging.root.handlers[:], logging.root.level = handlers, level
    torch.set_num_threads(threads)


@pytest.fixture
def mert(capsys):
    """mert(arguments...) -> (exit code, lines on stdout, lines on stderr)."""

    def mert(*arguments):
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as leaving:  # argparse
            code = leaving.code
        output = capsys.readouterr()
        return code, output.out.splitlines(), output.err.splitlines()

    return mert


@pytest.fixture
def flacs(corpus):
    """Half a second of noise as train, half a second at 44.1 kHz in stereo as valid, with their manifests."""
    rng = np.random.default_rng(0)
    corpus.audio.mkdir()
    for split, shape, rate in (("train", (12_000,), 24_000), ("valid", (22_050, 2), 44_100)):
        path = corpus.audio / f"{split}.flac"
        soundfile.write(path, 0.1 * rng.standard_normal(shape), rate)
        write_manifest(corpus.manifests / f"{split}.tsv", corpus.audio, [(path.name, audio_info(path).num_samples)])
    return corpus
