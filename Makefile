# make demo: everything end to end; make test: lint and tests; make test-slurm: tests on a real Slurm, started for them. All set up .venv first; nothing is installed outside it.
PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3,$(shell command -v $(name) 2>/dev/null)))
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
STAMP := $(VENV)/.complete
MUSIC ?=
# Where torch comes from, if not from pip's usual index: https://download.pytorch.org/whl/cpu has a small one without CUDA.
TORCH_INDEX ?=
DEMO_DIR ?=
PYTEST_FLAGS ?=
# The other major version that exported folders are tested with, in a folder of its own.
TRANSFORMERS_4 := transformers==4.56.2 huggingface-hub==0.36.2 tokenizers==0.22.2 requests==2.34.2 urllib3==2.8.0 \
  charset-normalizer==3.5.2 certifi==2026.10.18

.PHONY: setup demo test test-slurm test-page test-faults test-faults-short test-mutations fuzz soak lint check benchmark \
  benchmark-offline clean
.DELETE_ON_ERROR:

setup: $(STAMP)

# In this order: fairseq compiles against torch and numpy; torchaudio must not pull another torch; tinysoundfont (the demo's music)
# names a playback library that is not used and wants system headers.
$(STAMP): setup.py constraints.txt Makefile
	@test -n "$(PYTHON)" || { echo "make setup: no Python 3.11, 3.12 or 3.13 found; give one with PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "make setup: $(PYTHON) is not Python 3.11 to 3.13; give one with PYTHON=/path/to/python3.11"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install -q -c constraints.txt $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) torch
	$(PIP) install -q -c constraints.txt numpy cython setuptools wheel
	$(PIP) install -q -c constraints.txt --no-deps torchaudio
	$(PIP) install -q -c constraints.txt --no-build-isolation fairseq-fixed
	@$(BIN)/python -c 'import torchaudio' 2>/dev/null || $(MAKE) --no-print-directory torchaudio-without-cuda
	$(PIP) install -q -c constraints.txt --no-build-isolation -e ".[dev,demo]"
	$(PIP) install -q -c constraints.txt --no-deps tinysoundfont pretty_midi
	$(PIP) install -q --no-deps --target $(VENV)/transformers-4 --upgrade $(TRANSFORMERS_4)
	$(BIN)/python -c 'import pathlib, sysconfig; pathlib.Path(sysconfig.get_paths()["purelib"], "mert_fairseq_hydra.pth").write_text(str(pathlib.Path("mert_fairseq/hydra_searchpath").resolve()) + "\n")'
	touch $(STAMP)

# PyPI's torchaudio is built for CUDA; its compiled extension is optional and cannot load beside a CPU-only torch.
.PHONY: torchaudio-without-cuda
torchaudio-without-cuda:
	@for file in $(VENV)/lib/python3*/site-packages/torchaudio/lib/_torchaudio.abi3.so; do \
	  if [ -e "$$file" ]; then mv "$$file" "$$file.needs-cuda"; fi; done
	$(BIN)/python -c 'import torchaudio'

demo: setup
	PATH="$(CURDIR)/$(BIN):$$PATH" bash examples/demo.sh "$(DEMO_DIR)" "$(MUSIC)"

lint: setup
	$(BIN)/ruff check .

# Two processes of one thread each, a file of tests to a process: half the time of one process on two cores.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile $(PYTEST_FLAGS)

test-slurm: setup
	$(BIN)/python -m pytest $(PYTEST_FLAGS) tests/cluster --ignore=tests/cluster/test_laptop_to_cluster.py

# Every command of examples/laptop_to_cluster.md.
test-page: setup
	$(BIN)/python -m pytest $(PYTEST_FLAGS) tests/cluster/test_laptop_to_cluster.py

# Faults of every kind, injected; the table is printed at the end. The long form injects each as often as is promised.
test-faults: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile $(PYTEST_FLAGS) tests/faults --long

test-faults-short: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile $(PYTEST_FLAGS) tests/faults

# Readers of files (tests/fuzz/readers.py and kept_readers.py) for some seconds, guided by coverage; inputs that bring up a fault are named. Their seconds: make fuzz FUZZ_SECONDS=600
FUZZ_SECONDS ?= 8
fuzz: setup
	$(BIN)/python tests/fuzz/fuzz_all.py $(FUZZ_SECONDS)

# Each protection taken out of a copy of the package, one after another: a test must fail. NAMES="..." for some of them.
test-mutations: setup
	$(BIN)/python tests/faults/run_mutations.py $(NAMES)

# An hour of training that is killed every few minutes, beside one that is not. MINUTES=5 for a look.
soak: setup
	$(BIN)/python tests/faults/soak.py --minutes $(or $(MINUTES),60)

check: test

# Training: its steps, memory and data path.
benchmark: setup
	$(BIN)/python tests/benchmarks/run.py cqt crops manifest startup step

# What is done before and behind it: codes of the teacher, features, the grid of probing heads. Its rows stand in the same table.
benchmark-offline: setup
	$(BIN)/python tests/benchmarks/run.py encodec features probe_grid

clean:
	rm -rf $(VENV) demo build *.egg-info
