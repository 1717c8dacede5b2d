#!/bin/bash
# stop.sh DIR: cancels what runs, ends exactly the daemons whose pid files are in DIR/run, and undoes what start.sh DIR did.
set -u
DIR=$1
export SLURM_CONF=$DIR/etc/slurm.conf PATH=/usr/sbin:/sbin:$PATH
. "$DIR/settings"
gone() { [ ! -e "/proc/$1" ] || grep -q '^State:.*Z' "/proc/$1/status" 2>/dev/null; }
stop() { # NAME PIDFILE
  local pid
  pid=$(cat "$2" 2>/dev/null) && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$1" ] && ! gone "$pid" || return 0
  kill "$pid"
  for _ in $(seq 100); do gone "$pid" && break || sleep 0.1; done
  gone "$pid" || kill -KILL "$pid"
}

if [ -n "$(squeue -h -t PD,R,S,CF,CG 2>/dev/null)" ]; then
  squeue -h -o %A | sort -u | xargs -r scancel 2>/dev/null
  for _ in $(seq 50); do [ -z "$(squeue -h -t PD,R,S,CF,CG 2>/dev/null)" ] && break || sleep 0.2; done
fi
for file in "$DIR"/run/slurmd.*.pid; do stop slurmd "$file"; done
stop slurmctld "$DIR/run/slurmctld.pid"
stop munged "$DIR/run/munged.pid"
if [ "$NET" = netns ]; then
  for name in m1 m2; do ip netns del "mert$name"; done
  ip link del mertbr
fi
for node in "$DIR"/spool.*; do # left by proctrack/cgroup
  group=/sys/fs/cgroup/freezer/slurm_${node##*.}
  [ ! -d "$group" ] || find "$group" -depth -type d -exec rmdir {} + 2>/dev/null
done
hosts=$(grep -v -F "# $DIR" /etc/hosts) && printf '%s\n' "$hosts" >/etc/hosts # in place: it may be a mount
rm -rf "$DIR/state" "$DIR"/spool.* "$DIR/settings"
