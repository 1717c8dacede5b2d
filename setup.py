"""Package metadata of mert-fairseq; tool settings are in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

PLUGINS = "mert_fairseq/hydra_searchpath/hydra_plugins"
CORE = [
    "fairseq-fixed>=0.12.3.1",
    "torch>=2.11",
    "torchaudio>=2.11",
    "nnAudio>=0.3.3",
    "encodec>=0.1.1",
    "soundfile>=0.12.1",
    "submitit>=1.5",
    "hydra-core>=1.3",
    "omegaconf>=2.3",
    "numpy>=2.0",
    "scipy>=1.11",
    "safetensors>=0.4",
    "tqdm>=4.60",
]
EXTRAS = {
    "demo": ["matplotlib>=3.8"],  # its made-up music also needs tinysoundfont and pretty_midi, without their dependencies
    "export": ["transformers>=4.56", "onnx>=1.17", "onnxruntime>=1.20"],
    "probing": ["scikit-learn>=1.4", "mir_eval>=0.8", "musdb>=0.4.3", "PyYAML>=6"],
    "slurm": ["hydra-submitit-launcher>=1.2"],
    "dev": ["pytest>=8", "pytest-xdist>=3.5", "hypothesis>=6.100", "ruff>=0.6", "matplotlib>=3.8", "build"],
}
EXTRAS["dev"] += ["atheris>=3; platform_system == 'Linux' and platform_machine == 'x86_64'"]  # `make fuzz`
EXTRAS["dev"] += EXTRAS["export"] + EXTRAS["probing"] + EXTRAS["slurm"]

setup(
    name="mert-fairseq",
    version="0.1.0",
    description="Pre-train MERT music models with fairseq: targets, training, resume",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.11,<3.14",
    packages=find_packages(include=["mert_fairseq", "mert_fairseq.*"]) + ["hydra_plugins.mert_fairseq_searchpath"],
    # Hydra lists plugins by walking folders, which an editable install does not offer: `make setup` adds a .pth for it.
    package_dir={"hydra_plugins.mert_fairseq_searchpath": f"{PLUGINS}/mert_fairseq_searchpath"},
    package_data={"mert_fairseq": ["config/*.yaml", "config/*/*.yaml"]},
    install_requires=CORE,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["mert = mert_fairseq.cli.main:main"]},
)
