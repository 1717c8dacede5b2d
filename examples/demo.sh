#!/usr/bin/env bash
# All steps in order.   demo.sh [DIR [MUSIC]]   MUSIC: a folder of audio; without it the demo makes its own.
# VALID_PERCENT (15), TEACHER_SECONDS (150) and UPDATES (2200) in the environment change what the steps are told.
set -eu
here=$(dirname "$0") music=${2:-}
dir=${1:-demo/$(basename "${music:-made}")}
mkdir -p "$dir"
source=${music:+$(realpath "$music")}
if [ -e "$dir/source" ] && [ "$(cat "$dir/source")" != "$source" ]; then
  echo "$dir holds the demo of other music; give another folder: make demo DEMO_DIR=..." >&2
  exit 1
fi
echo "$source" >"$dir/source"
begin=$SECONDS
step() { printf '\n== %s (%s s)\n' "$1" "$((SECONDS - begin))"; }

step "1 music"
if [ -z "$music" ]; then
  music="$dir/music"
  [ -e "$music/piece-035.flac" ] || python "$here/01_make_music.py" "$music"
fi
echo "$music"
step "2 manifest";  bash "$here/02_manifest.sh" "$dir" "$music"
step "3 teacher";   bash "$here/03_teacher.sh" "$dir"
step "4 targets";   bash "$here/04_labels.sh" "$dir"
step "5 training";  bash "$here/05_train.sh" "$dir" optimization.max_update="${UPDATES:-2200}"
step "6 what was learned"; bash "$here/06_report.sh" "$dir"
step "7 use it"; bash "$here/07_use.sh" "$dir" "$music"
step "8 what it understands"; bash "$here/08_probe.sh" "$dir"
step "done"
