#!/usr/bin/env bash
# Step 7: the model for others, and features of music from it.   07_use.sh DIR MUSIC
set -eu
[ -e "$1/mert" ] || mert export "$1/run/checkpoints/checkpoint_last.pt" "$1/mert"
mert features "$1/mert" "$2" --out "$1/features"
