#!/usr/bin/env bash
# A sweep on a Slurm allocation: one Ray node on each of its nodes, the launch on the first.
#
#   ecgscale cluster slurm > job.sh      # then change the lines below to what your cluster has
#   sbatch job.sh SWEEP [--max-device-hours 500 ...]
#
# Preempted or out of time it is requeued and goes on where it was: what is measured is in results, the rest in
# checkpoints. Home and results have to be on storage that all nodes share. Compute nodes need no internet.
#SBATCH --job-name=ecgscale
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@300
set -euo pipefail

: "${ECGSCALE_HOME:?set it to a folder that all nodes share, for corpora and checkpoints}"
: "${SLURM_JOB_ID:?run this with sbatch}"
[[ $# -gt 0 ]] || { echo "usage: sbatch job.sh SWEEP [options of ecgscale launch]" >&2; exit 2; }

# Only those who hold the token of ~/.ray/auth_token may talk to this Ray; every node reads the same home directory.
export RAY_AUTH_MODE=token
ray get-auth-token --generate > /dev/null

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
port=$((20000 + SLURM_JOB_ID % 10000)) # two jobs may share a node
head_ip=$(srun --overlap --nodes=1 --ntasks=1 --nodelist="${nodes[0]}" hostname --ip-address)
head_ip=${head_ip%% *}
address="$head_ip:$port"

start_ray() { # NODE, then options of ray start
  srun --overlap --nodes=1 --ntasks=1 --nodelist="$1" ray start --block --disable-usage-stats \
    --num-cpus="${SLURM_CPUS_PER_TASK:-1}" --num-gpus="${SLURM_GPUS_ON_NODE:-0}" "${@:2}" &
}

launch='' requeue='' heard=''
# shellcheck disable=SC2317,SC2329 # the traps call it (SC2317 in shellcheck before 0.11)
stop_launch() {
  heard=yes
  if [[ -n $launch ]]; then kill -TERM "$launch" 2> /dev/null || true; fi
}
# Five minutes before the limit: stop gracefully and ask for another turn. On preemption Slurm sends TERM and requeues
# by itself; after scancel it sends TERM and does not.
trap 'requeue=yes; stop_launch' USR1
trap 'stop_launch' TERM
trap 'kill $(jobs -p) 2> /dev/null || true' EXIT

start_ray "${nodes[0]}" --head --node-ip-address="$head_ip" --port="$port" --include-dashboard=false
for _ in {1..60}; do
  ray health-check --address "$address" > /dev/null 2>&1 && break
  sleep 2
done
for node in "${nodes[@]:1}"; do
  start_ray "$node" --address="$address"
done

ecgscale launch "$@" --address "$address" --yes &
launch=$!
while :; do # a signal ends wait before the launch has ended: wait again
  heard='' code=0
  wait "$launch" || code=$?
  [[ -n $heard ]] || break
done
if [[ -n $requeue && $code -ne 0 ]]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
