#!/usr/bin/env bash
# Step 8: what the model understands of made-up, labelled music, beside its own random weights and log-mel frames.   08_probe.sh DIR
set -eu
mert probe toy --model "$1/run/checkpoints/checkpoint_last.pt" random:mert_tiny logmel --dir "$1/toy"
