#!/usr/bin/env bash
# Step 3: fit an RVQ-VAE on the music itself, within TEACHER_SECONDS (default 150).   03_teacher.sh DIR
# With EnCodec's published weights in a folder W this step falls away: give --weights W in step 4.
set -eu
[ -e "$1/teacher/config.json" ] || mert teacher fit rvqvae "$1/manifest" "$1/teacher" --max-seconds "${TEACHER_SECONDS:-150}"
