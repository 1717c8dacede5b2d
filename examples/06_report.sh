#!/usr/bin/env bash
# Step 6: what was learned, against what is known without learning.   06_report.sh DIR
set -eu
mert report "$1/run"
