#!/bin/sh
# Two processes on this machine that train as one, to try --multi_host without a cluster:
#
#   sh examples/cluster/localhost.sh --config configs/subvp_digits.py --workdir runs/two --mode train
#
# They find each other as SLURM's do, by the variables that it would set. On CPUs; each process has one device.
PYTHON=${PYTHON:-.venv/bin/python}
export JAX_PLATFORMS=cpu JAX_NUM_CPU_DEVICES=1
export SLURM_JOB_ID=$$ SLURM_STEP_NODELIST=localhost SLURM_NTASKS=2
export JAX_COORDINATOR_PORT=${JAX_COORDINATOR_PORT:-$((20000 + $$ % 20000))}

SLURM_PROCID=1 SLURM_LOCALID=1 "$PYTHON" main.py --multi_host "$@" &
second=$!
trap 'kill -TERM $first $second 2>/dev/null' INT TERM
SLURM_PROCID=0 SLURM_LOCALID=0 "$PYTHON" main.py --multi_host "$@" &
first=$!
wait $first
status=$?
while kill -0 $first 2>/dev/null; do # the signal has ended the wait, and the run is still saving
  wait $first
  status=$?
done
wait $second || status=$?
exit $status
