# Values of your cluster, in one place: for `mert labels ... --slurm --site slurm/site.sh`, which reads the SITE_ lines without running
# them, and for `. slurm/site.sh; sbatch $SITE ...`. One value a line; nothing behind = leaves it to the cluster.

SITE_PARTITION=          # sbatch --partition, e.g. cpu
SITE_ACCOUNT=            # sbatch --account, e.g. my-project
SITE_CPUS_PER_TASK=4     # cores of a job; the teachers use them all
SITE_MEM_GB=8            # memory of a job in GB; a few tracks are in memory at a time
SITE_TIMEOUT_MIN=240     # minutes a job may run; a shard that is cut starts again, so give more shards rather than more minutes
SITE_GPUS_PER_NODE=      # GPUs of a job on each of its nodes, e.g. 1; training has one process per GPU
SITE_SETUP=              # run on the node first, e.g. 'module load ffmpeg; . $HOME/mert/.venv/bin/activate'
SITE_OPTIONS=            # more of sbatch's long options, e.g. '--qos=long --constraint=avx512'

# Nothing to edit below: the same values as sbatch's options, and the setup for the job.
SITE="--cpus-per-task=$SITE_CPUS_PER_TASK --mem=${SITE_MEM_GB}G --time=$SITE_TIMEOUT_MIN $SITE_OPTIONS"
SITE="$SITE ${SITE_PARTITION:+--partition=$SITE_PARTITION} ${SITE_ACCOUNT:+--account=$SITE_ACCOUNT}"
SITE="$SITE ${SITE_GPUS_PER_NODE:+--gpus-per-node=$SITE_GPUS_PER_NODE --ntasks-per-node=$SITE_GPUS_PER_NODE}"
export SITE_SETUP
