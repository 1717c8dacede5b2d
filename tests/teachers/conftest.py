"""Small RVQ-VAEs and made-up recordings for the tests of teachers."""

import sys
from pathlib import Path

import pytest
import torch

from mert_fairseq.teachers.cqt import FastCQT
from mert_fairseq.teachers.residual_kmeans import fit_codebooks
from mert_fairseq.teachers.rvqvae import RVQVAE, RVQVAESettings
from mert_fairseq.teachers.rvqvae_fit import reinitialise

sys.path.insert(0, str(Path(__file__).parent))  # the tests share made_*.py

from made_music import chords, noise
from made_teacher import LENGTHS


@pytest.fixture(scope="module")
def teacher() -> RVQVAE:
    """Not trained, but with codebooks fitted to its latents, so that codes vary and ties are rare."""
    torch.manual_seed(0)
    model = RVQVAE(RVQVAESettings(n_filters=2, dimension=16, num_codebooks=3, codebook_size=32)).eval()
    generator = torch.Generator().manual_seed(0)
    reinitialise(model, generator)
    with torch.no_grad():
        latents = model.latents(torch.from_numpy(chords(20, 0))[None])[0].T
    model.codebooks.copy_(fit_codebooks(latents, 3, 32, 5, generator))
    return model


@pytest.fixture
def manifest(corpus):
    """Of recordings that need not be there."""
    return corpus.manifest(LENGTHS)


@pytest.fixture
def recordings(corpus):
    """Those of the manifest are there."""
    return corpus.manifest(LENGTHS, audio=True)


@pytest.fixture
def folder(corpus):
    return corpus.labels / "train.codes"


@pytest.fixture
def teacher_folder(tmp_path):
    """Not trained, but with codebooks fitted to its latents of noise, so that codes vary."""
    torch.manual_seed(0)
    teacher, generator = RVQVAE(RVQVAESettings(n_filters=2, dimension=4, num_codebooks=3, codebook_size=8)), torch.Generator()
    reinitialise(teacher, generator)
    with torch.no_grad():
        latents = teacher.latents(torch.from_numpy(noise(240_000, 0))[None])[0].T
    teacher.codebooks.copy_(fit_codebooks(latents, 3, 8, 3, generator))
    teacher.save(tmp_path / "teacher")
    return tmp_path / "teacher"


@pytest.fixture
def source(tmp_path):
    """The folder of labels."""
    (tmp_path / "source").mkdir()
    return tmp_path / "source"


@pytest.fixture
def columns(corpus):
    """Codes (frame, row) of every row, as the made-up corpus has them."""
    return [corpus.codes(row, length) for row, length in enumerate(LENGTHS)]


@pytest.fixture(scope="module")
def transform():
    return FastCQT()
