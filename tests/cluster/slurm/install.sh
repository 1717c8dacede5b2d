#!/bin/bash
# Debian's Slurm and munge, without starting their services. 77: not possible here; the last line says why.
set -eu
want="slurmctld slurmd slurm-client munge iproute2"
missing=""
for package in $want; do
  [ "$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null)" = "install ok installed" ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
[ "$(id -u)" = 0 ] || { echo "not root, and not installed:$missing"; exit 77; }
command -v apt-get >/dev/null || { echo "no apt-get, and not installed:$missing"; exit 77; }

policy=/usr/sbin/policy-rc.d # says 101: start no service
if [ ! -e $policy ]; then
  printf '#!/bin/sh\nexit 101\n' >$policy
  chmod 755 $policy
  trap 'rm -f $policy' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
install() { timeout 300 apt-get install -y -qq --no-install-recommends $missing; }
install || { timeout 120 apt-get update -qq && install; } || { echo "apt-get cannot install$missing"; exit 77; }
