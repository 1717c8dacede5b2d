#!/usr/bin/env bash
# All steps in order.   demo.sh DIR [MUSIC]   MUSIC: a folder of audio; without it the demo makes its own.
set -eu
here=$(dirname "$0") dir=$1 music=${2:-}
mkdir -p "$dir"
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
step "5 training";  bash "$here/05_train.sh" "$dir" optimization.max_update="${UPDATES:-1500}"
step "6 what was learned"; bash "$here/06_report.sh" "$dir"
step "done"
