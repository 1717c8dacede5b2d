#!/usr/bin/env bash
# Step 4: the targets: codes of the teacher and constant-Q spectra, then a check of every shard.   04_labels.sh DIR
set -eu
mert labels encodec "$1/manifest" "$1/labels" --weights "$1/teacher"
mert labels cqt "$1/manifest" "$1/labels"
mert labels check "$1/manifest" "$1/labels"
