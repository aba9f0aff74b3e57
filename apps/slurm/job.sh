# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash disable=SC2034 # the batch scripts use what is set here
# What the batch scripts of this folder share. They source it when their job begins, and
# then call "run PROGRAM ARGUMENTS...". doc/slurm.md tells how it is meant to be used.
#
# Sets SEED and OUT, the job's folder: in an array each task has a seed, its number, and a
# folder of its own. Reads LAUNCH (srun or mpirun), MPI (pmix, of srun), SOURCE, BUILD and
# RESTARTS, how often a job may be requeued.
LAUNCH=${LAUNCH:-srun}
MPI=${MPI:-pmix}
RESTARTS=${RESTARTS:-20}
BUILD=${BUILD:-$SOURCE/build}
if [ -n "${SLURM_ARRAY_TASK_ID-}" ]; then
    SEED=$SLURM_ARRAY_TASK_ID
    OUT=${OUT:-$PWD/$SLURM_JOB_NAME-$SLURM_ARRAY_JOB_ID}/seed-$SEED
else
    SEED=${SEED:-1}
    OUT=${OUT:-$PWD/$SLURM_JOB_NAME-$SLURM_JOB_ID}
fi

requeue_status=75   # of a program that was told to stop and has written a snapshot
job='' warned='' caught=''
restarts=${SLURM_RESTART_COUNT:-0}

say()
{
    echo "== $(date -Is), $*"
}

# Slurm warns this script alone (--signal=B:USR1@...), because mpirun runs in it: srun and
# mpirun hand the signal on to each rank, once.
on_warning()
{
    warned=1 caught=1
    say "job $SLURM_JOB_ID is warned by SIGUSR1: the ranks are to write a snapshot and end"
    [ -z "$job" ] || kill -USR1 "$job" 2>/dev/null || true
}

# When a job is cancelled, preempted or requeued, Slurm tells srun and the ranks itself:
# this script only has to outlive them.
on_end()
{
    caught=1
    say "job $SLURM_JOB_ID is told to end by SIGTERM"
}

# The status of the launcher. A trap ends "wait" early, with a status that means nothing;
# and what has been waited for once is unknown, 127, the second time.
wait_for_job()
{
    local now status=127
    while :; do
        caught='' now=0
        wait "$job" || now=$?
        [ "$now" = 127 ] || status=$now
        [ -n "$caught" ] || return "$status"
    done
}

# finish STATUS: what follows from the launcher's status.
finish()
{
    local status=$1
    if [ "$status" = 0 ]; then
        say "done: $OUT"
        exit 0
    fi
    # Of a job that is cancelled, preempted or requeued already Slurm has decided.
    if [ "$(squeue -h -j "$SLURM_JOB_ID" -o %T)" != RUNNING ]; then
        say "stopped before the end, by Slurm"
        exit "$status"
    fi
    # A warning may come before the program is ready for it, and end it.
    if [ "$status" != "$requeue_status" ] && [ -z "$warned" ]; then
        say "failed with status $status: see above"
        exit "$status"
    fi
    if [ "$restarts" -ge "$RESTARTS" ]; then
        say "given up after $restarts restarts (RESTARTS=$RESTARTS); to go on, submit" \
            "again with OUT=$OUT"
        exit "$status"
    fi
    say "stopped before the end; requeued, to go on from the newest snapshot"
    scontrol requeue "$SLURM_JOB_ID" || say "cannot be requeued: submit with OUT=$OUT"
    exit "$status"
}

# run PROGRAM ARGUMENTS...: on all tasks of the job; ends the script.
run()
{
    local status=0
    case $LAUNCH in
    srun) set -- srun --mpi="$MPI" --cpus-per-task="$OMP_NUM_THREADS" "$@" ;;
    mpirun) set -- mpirun --map-by "slot:PE=$OMP_NUM_THREADS" --bind-to core "$@" ;;
    *)
        echo "LAUNCH is srun or mpirun, not $LAUNCH" >&2
        exit 1
        ;;
    esac
    if [ -z "$warned" ]; then
        "$@" &
        job=$!
        wait_for_job || status=$?
    else
        status=$requeue_status
    fi
    finish "$status"
}

trap on_warning USR1
trap on_end TERM
mkdir -p "$OUT"
export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}
export OMP_PLACES=cores OMP_PROC_BIND=close

say "job $SLURM_JOB_ID: $SLURM_NTASKS ranks on $SLURM_JOB_NODELIST, start $((restarts + 1))"
echo "== git $(git -C "$SOURCE" describe --always --dirty 2>/dev/null || echo unknown)"
echo "== $(srun --version), $(mpirun --version 2>/dev/null | head -n 1)"
srun --ntasks="$SLURM_NNODES" --ntasks-per-node=1 bash -c \
    'echo "== $(hostname): $(lscpu | sed -n "s/^Model name: *//p"), $(nproc) CPUs" \
        ${CUDA_VISIBLE_DEVICES:+"with GPUs $CUDA_VISIBLE_DEVICES"}'
if [ "$restarts" -gt "$RESTARTS" ]; then
    say "given up: restarted $restarts times (RESTARTS=$RESTARTS)"
    exit 1
fi
