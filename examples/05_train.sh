#!/usr/bin/env bash
# Step 5: pre-training, killed once after its first checkpoint; the same command goes on.   05_train.sh DIR [key=value ...]
set -eu
dir=$(realpath "$1"); shift
last="$dir/run/checkpoints/checkpoint_last.pt"

start() {
  fairseq-hydra-train --config-name mert_tiny task.data="'$dir/manifest'" task.label_dir="'$dir/labels'" hydra.run.dir="'$dir/run'" "$@" \
    >>"$dir/train.log" 2>&1 &
  pid=$!
}

follow() { # says how far it is until the run ends, or until the file $1 exists
  local shown=""
  while kill -0 "$pid" 2>/dev/null && { [ -z "${1:-}" ] || [ ! -e "$1" ]; }; do
    sleep 3
    now=$(grep -o '"loss_codes_m": "[0-9.]*".*"num_updates": "[0-9]*"' "$dir/train.log" | tail -n 1 \
      | sed -E 's/.*loss_codes_m": "([0-9.]*)".*num_updates": "([0-9]*)"/update \2, cross-entropy summed over codebooks \1/') || true
    if [ "$now" != "$shown" ]; then echo "  $now"; shown=$now; fi
  done
}

pid=
trap 'kill -9 "$pid" 2>/dev/null; exit 130' INT TERM
if [ ! -e "$last" ]; then
  start "$@"
  follow "$last"
  kill -9 "$pid" 2>/dev/null && echo "  killed (SIGKILL) after the first checkpoint; the same command again:"
  wait "$pid" 2>/dev/null || true
fi
start "$@"
follow
wait "$pid" || { echo "training failed; the end of $dir/train.log:"; tail -n 5 "$dir/train.log"; exit 1; }
