#!/bin/bash
# A Slurm cluster of two nodes on one machine: no systemd, no containers. Needs root and install.sh.
#   start.sh DIR           state, logs and pid files go to DIR; then `. DIR/env.sh`; ended by stop.sh DIR
# Started again while it is up, it starts the node daemons that are gone. Ends with 77 where it is not possible; the last line says why.
# Each node offers 4 cores and 2 GPUs that do not exist. Settings, from the environment:
#   NET=loop       all nodes on 127.0.0.1, each with its port and hostname
#   NET=netns      each node in a network namespace of its own: an address that is wrong there is not reached
#   PORT=16817     of the controller; the nodes take the next ones
#   PROCTRACK=linuxproc   or cgroup, where the freezer of cgroup v1 is mounted
set -eu -o pipefail
DIR=$1 NET=${NET:-loop} PORT=${PORT:-16817} CPUS=4
HERE=$(cd "$(dirname "$0")" && pwd)
export PATH=/usr/sbin:/sbin:$PATH SLURM_CONF=$DIR/etc/slurm.conf
[ "$(id -u)" = 0 ] || { echo "not root"; exit 77; }
unshare --uts --net true 2>/dev/null || { echo "no namespaces of hostnames and networks here"; exit 77; }
zombie() { grep -q '^State:.*Z' "/proc/$1/status" 2>/dev/null; }
alive() { # NAME PIDFILE
  local pid
  pid=$(cat "$2" 2>/dev/null) && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$1" ] && ! zombie "$pid"
}
[ ! -e "$DIR/settings" ] || . "$DIR/settings"
# Two clusters at a time are possible: the nodes of the second kind have other names.
if [ "$NET" = netns ]; then
  NAMES="m1 m2" CONTROLLER=10.77.0.1 COMMUNICATION=
else
  NAMES="n1 n2" CONTROLLER=127.0.0.1 COMMUNICATION=CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
fi
address() { if [ "$NET" = netns ]; then echo "10.77.0.1${1#m}"; else echo 127.0.0.1; fi; }

configure() {
  mkdir -p "$DIR"/etc "$DIR"/run "$DIR"/log "$DIR"/state "$DIR"/bin "$DIR"/dev
  chmod 755 "$DIR"
  echo "NET=$NET PORT=$PORT" >"$DIR/settings"
  echo "# linuxproc and task/none need none" >"$DIR/etc/cgroup.conf"
  : >"$DIR/etc/plugstack.conf"
  for gpu in 0 1; do [ -e "$DIR/dev/gpu$gpu" ] || mknod "$DIR/dev/gpu$gpu" c 1 3; done
  printf 'AutoDetect=off\nName=gpu File=%s/dev/gpu[0-1]\n' "$DIR" >"$DIR/etc/gres.conf"
  sed -e "s|@DIR@|$DIR|g; s|@PORT@|$PORT|; s|@CONTROLLER@|$(hostname -s)($CONTROLLER)|; s|@COMMUNICATION@|$COMMUNICATION|" \
    -e "s|@PROCTRACK@|${PROCTRACK:-linuxproc}|" "$HERE/slurm.conf" >"$SLURM_CONF"
  local name gpu tag="# $DIR"
  for name in $NAMES; do
    echo "NodeName=$name NodeHostname=$name NodeAddr=$(address "$name") Port=$((PORT + ${name#?})) CPUs=$CPUS RealMemory=64000 Gres=gpu:2 State=UNKNOWN"
  done >>"$SLURM_CONF"
  cat "$HERE/partitions.conf" >>"$SLURM_CONF"
  for name in $NAMES; do echo "$(address "$name") $name $tag"; done >>/etc/hosts # the name by which ranks find each other
  getent hosts "$(hostname -s)" >/dev/null || echo "127.0.0.1 $(hostname -s) $tag" >>/etc/hosts
  install -m 755 "$HERE/sacct" "$DIR/bin/sacct"
  printf 'export SLURM_CONF=%s PATH=%s/bin:$PATH\n' "$SLURM_CONF" "$DIR" >"$DIR/env.sh"
}

namespaces() {
  ip link add mertbr type bridge
  ip addr add "$CONTROLLER/24" dev mertbr
  ip link set mertbr up
  local name
  for name in $NAMES; do
    ip netns add "mert$name"
    ip link add "mertv$name" type veth peer name eth0 netns "mert$name"
    ip link set "mertv$name" master mertbr up
    ip -n "mert$name" addr add "$(address "$name")/24" dev eth0
    ip -n "mert$name" link set eth0 up
    ip -n "mert$name" link set lo up
  done
}

start_munge() {
  [ -s "$DIR/etc/munge.key" ] || (umask 377 && head -c 1024 /dev/urandom >"$DIR/etc/munge.key")
  munged --key-file="$DIR/etc/munge.key" --socket="$DIR/run/munge.socket" --pid-file="$DIR/run/munged.pid" \
    --log-file="$DIR/log/munged.log" --seed-file="$DIR/state/munge.seed" --num-threads=4
}

start_node() { # nsenter rather than `ip netns exec`, which hides /sys/fs/cgroup from slurmd
  local inside=()
  [ "$NET" = loop ] || inside=(nsenter "--net=/run/netns/mert$1")
  mkdir -p "$DIR/spool.$1"
  "${inside[@]}" unshare --uts sh -c "hostname $1 && exec slurmd -f '$SLURM_CONF' -N $1"
}

idle() { sinfo -h -N -p main -o %t 2>/dev/null | grep -c -E '^(idle|mix|alloc|comp)$'; }

[ -e "$DIR/settings" ] || configure
if [ "$NET" = netns ] && [ ! -e /sys/class/net/mertbr ]; then namespaces; fi
alive munged "$DIR/run/munged.pid" || start_munge
alive slurmctld "$DIR/run/slurmctld.pid" || slurmctld -f "$SLURM_CONF"
for name in $NAMES; do alive slurmd "$DIR/run/slurmd.$name.pid" || start_node "$name"; done
for _ in $(seq 150); do [ "$(idle)" = 2 ] && exit 0 || sleep 0.2; done
tail -n 15 "$DIR"/log/*.log
echo "start.sh: the nodes do not get idle"
exit 1
