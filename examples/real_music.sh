#!/usr/bin/env bash
# The real run of README.md: the music of a game, 40 composed tracks.   real_music.sh DIR [MUSIC]
# On Debian: apt-get install wesnoth-1.16-music
set -eu
dir=$1 music=${2:-/usr/share/games/wesnoth/1.16/data/core/music}
mkdir -p "$dir"
mert manifest "$music" "$dir/manifest" --convert "$dir/audio" --valid-percent 12
[ -e "$dir/teacher/config.json" ] || mert teacher fit rvqvae "$dir/manifest" "$dir/teacher"
bash "$(dirname "$0")/04_labels.sh" "$dir"
run() { fairseq-hydra-train --config-name mert_tiny task.data="'$dir/manifest'" task.label_dir="'$dir/labels'" hydra.run.dir="'$dir/$1'" "${@:2}" \
    >"$dir/$1.log" 2>&1 || { tail -n 5 "$dir/$1.log"; return 1; }; }

# Five minutes: mert_tiny as it stands.
run run_five
mert report "$dir/run_five"
# Longer, 25,000 updates: two more layers, wider heads; the learning rate aims at 26,000, from update 12,000 on at 25,000.
long=(model.encoder_layers=4 model.final_dim=64 dataset.validate_interval_updates=2000 checkpoint.save_interval_updates=2000)
run run_long "${long[@]}" +lr_scheduler.total_num_update=26000 optimization.max_update=12000
run run_long "${long[@]}" +lr_scheduler.total_num_update=25000 optimization.max_update=25000
mert report "$dir/run_long"
# Another teacher, 1,000 updates each: residual k-means over log-mel frames beside the RVQ-VAE.
[ -e "$dir/melrvq/config.json" ] || mert teacher fit melrvq "$dir/manifest" "$dir/melrvq"
mert labels melrvq "$dir/manifest" "$dir/labels" --weights "$dir/melrvq"
mert labels stats "$dir/labels"
for name in encodec melrvq; do
  run "run_$name" task.labels="[$name]" optimization.max_update=1000
  mert report "$dir/run_$name"
done
