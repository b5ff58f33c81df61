#!/usr/bin/env bash
# A sweep on a Slurm allocation: one Ray node on each of its nodes, the launch on the first.
#
#   ecgscale cluster slurm > job.sh      # then change the lines below to what your cluster has
#   sbatch job.sh SWEEP [--max-device-hours 500 ...]
#
# Preempted (with or without a grace time), out of time or without one of its nodes it is requeued and goes on where it
# was: what is measured is in results, the rest in checkpoints. Cancelled it pauses and stays away. Home and results have
# to be on storage that all nodes share. Compute nodes need no internet.
#SBATCH --job-name=ecgscale
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --mem=256G
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
export RAY_TMPDIR="/tmp/ray-$SLURM_JOB_ID" # short, for the paths of sockets are; a job's own TMPDIR often is not

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
port=$((20000 + SLURM_JOB_ID % 10000)) # two jobs may share a node
head_ip=''
for ip in $(hostname --ip-address 2> /dev/null) $(hostname --all-ip-addresses); do
  if [[ $ip != 127.* && $ip != *:* ]]; then head_ip=$ip; break; fi # others cannot reach the loopback
done
address="${head_ip:?this node has no address that others can reach}:$port"

# Before Slurm kills it sends TERM: to every step, and if there is no grace time to this script and its children as well.
# Ray and the launch would end at once. They are started with TERM blocked, which what they start inherits; the launch is
# told by USR1, which it hears as well, and Ray outlives it.
export BLOCK_TERM='import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
os.execvp(sys.argv[1], sys.argv[1:])'

start_ray() { # options of ray start
  mkdir -p "$RAY_TMPDIR"
  exec setsid python3 -c "$BLOCK_TERM" ray start --block --disable-usage-stats \
    --num-cpus="${SLURM_CPUS_PER_TASK:-1}" --num-gpus="${SLURM_GPUS_ON_NODE:-0}" "$@"
}
export -f start_ray

launch='' head='' sentinel='' requeue='' cancelled='' heard=''
# shellcheck disable=SC2317,SC2329 # the traps call them (SC2317 in shellcheck before 0.11)
stop_launch() {
  heard=yes
  if [[ -n $launch ]]; then kill -USR1 "$launch" 2> /dev/null || true; launch_told=yes; fi
}
# shellcheck disable=SC2317,SC2329
end_ray() {
  kill -KILL $sentinel 2> /dev/null || true
  if [[ -n $head ]]; then kill -KILL -- "-$head" 2> /dev/null || true; fi # with all that it started
  # Its steps by their names: KILL to the job would cancel it, this script and its next turn included.
  if [[ -z $cancelled ]]; then
    mapfile -t steps < <(squeue --noheader --steps --format=%i --jobs="$SLURM_JOB_ID" | grep -E '\.[0-9]+ *$')
    # one that has ended meanwhile is no fault
    if [[ ${#steps[@]} -gt 0 ]]; then scancel --quiet --signal=KILL "${steps[@]// /}" 2> /dev/null || true; fi
  fi
  rm -rf "$RAY_TMPDIR" || true # who is killed may still have written
  trap - EXIT
}
# TERM to this script: Slurm itself ends the job, and requeues it if it has to. USR1 comes five minutes before the limit,
# USR2 from the sentinel: then the job has to ask for another turn.
launch_told=''
trap 'cancelled=yes; [[ -n $launch_told ]] && heard=yes || stop_launch' TERM
trap 'requeue=yes; [[ -n $launch_told ]] && heard=yes || stop_launch' USR1 USR2
trap 'end_ray' EXIT

# Preemption with a grace time tells the steps alone. The sentinel is one that ends by it, and says so.
(srun --overlap --nodes=1 --ntasks=1 --nodelist="${nodes[0]}" --quiet sleep infinity || true; kill -USR2 $$) &
sentinel=$!

(start_ray --head --node-ip-address="$head_ip" --port="$port" --include-dashboard=false) &
head=$!
for _ in {1..60}; do
  ray health-check --address "$address" > /dev/null 2>&1 && break
  sleep 2
done
# The shell of a step stays by its Ray through TERM too: what has lost its parent not every Slurm finds to kill.
for node in "${nodes[@]:1}"; do
  srun --overlap --nodes=1 --ntasks=1 --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" --nodelist="$node" \
    bash -c 'trap : TERM; for _ in 1 2 3; do (start_ray "$@"); done' ray --address="$address" &
done

code=0
if [[ -z $requeue$cancelled ]]; then
  python3 -c "$BLOCK_TERM" ecgscale launch "$@" --address "$address" --yes &
  launch=$!
  while :; do # a signal ends wait before the launch has ended: wait again
    heard='' code=0
    wait "$launch" || code=$?
    [[ -n $heard ]] || break
  done
fi

# What was not complete goes on at another turn, unless somebody wants it otherwise: a usage error (2), a refusal (3),
# `ecgscale stop` (130), scancel. Without a signal (Ray was lost, say) only so often.
case $code in 0 | 2 | 3 | 130) requeue='' ;; esac
if [[ $code == 1 && -z $requeue && ${SLURM_RESTART_COUNT:-0} -lt 5 ]]; then
  where=()
  for ((i = 2; i <= $#; i++)); do
    case ${!i} in --results) next=$((i + 1)) && where=(--results "${!next}") ;; --results=*) where=("${!i}") ;; esac
  done
  left=$(ecgscale status "$1" "${where[@]}" --json | python3 -c '
import json, sys
found = json.load(sys.stdin)
print(found["pending"] + found["running"])') || left=0
  if [[ $left != 0 ]]; then requeue=yes; fi
fi
if [[ -n $requeue && -z $cancelled ]]; then
  end_ray
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
