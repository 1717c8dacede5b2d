"""A small RVQ-VAE for the tests of teachers."""

import sys
from pathlib import Path

import pytest
import torch

from mert_fairseq.teachers.residual_kmeans import fit_codebooks
from mert_fairseq.teachers.rvqvae import RVQVAE, RVQVAESettings
from mert_fairseq.teachers.rvqvae_fit import reinitialise

sys.path.insert(0, str(Path(__file__).parent))  # the tests share made_music

from made_music import chords


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
