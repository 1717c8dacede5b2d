#!/usr/bin/env bash
# Step 2: list the audio files, hold some out, convert what is not 24 kHz mono.   02_manifest.sh DIR MUSIC
set -eu
mert manifest "$2" "$1/manifest" --convert "$1/audio" --valid-percent "${VALID_PERCENT:-15}"
