#!/usr/bin/env bash
# A SLURM of its own on this machine, for tests: cluster.sh DIR starts it, cluster.sh DIR stop ends it and all of its jobs.
# It needs root and Debian's packages slurm-wlm and munge. Partitions: main, and urgent, whose jobs preempt those of main.
# DIR/slurm.conf is its configuration; programs that use it need SLURM_CONF to name that file.
set -euo pipefail
dir=$1
conf=$dir/slurm.conf
host=$(hostname -s)
export SLURM_CONF=$conf

stop() {
  [ -f "$conf" ] && timeout 20 scancel --state=PENDING,RUNNING,SUSPENDED --user="$(id -un)" 2> /dev/null || true
  for name in slurmd slurmctld munged; do
    if [ -f "$dir/$name.pid" ]; then
      kill "$(cat "$dir/$name.pid")" 2> /dev/null || true
    fi
  done
}

if [ "${2:-}" = stop ]; then
  stop
  exit 0
fi

ports=($(python3 -c "
import socket
held = [socket.create_server(('127.0.0.1', 0)) for _ in range(2)]
print(*(one.getsockname()[1] for one in held))"))
memory=$(($(awk '/MemTotal/ {print $2}' /proc/meminfo) / 1024 - 1024))
mkdir -p "$dir"/{state,spool,log}
chmod 755 "$dir"
head -c 128 /dev/urandom > "$dir/munge.key"
chmod 600 "$dir/munge.key"
cat > "$conf" << END
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=${ports[0]}
SlurmdPort=${ports[1]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$dir/munge.socket,cred_expire=5
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldLogFile=$dir/log/slurmctld.log
SlurmdLogFile=$dir/log/slurmd.log
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
PreemptMode=REQUEUE
PreemptType=preempt/partition_prio
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) RealMemory=$memory State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES PriorityTier=1 MaxTime=INFINITE State=UP
PartitionName=urgent Nodes=ALL PriorityTier=2 MaxTime=INFINITE State=UP
END
munged --force --socket="$dir/munge.socket" --key-file="$dir/munge.key" --pid-file="$dir/munged.pid" \
  --log-file="$dir/log/munged.log" --seed-file="$dir/munge.seed"
slurmctld
slurmd
for _ in $(seq 100); do
  if sinfo --noheader --format=%t 2> /dev/null | grep -q idle; then
    exit 0
  fi
  sleep 0.2
done
echo "expected an idle node within 20 seconds; see $dir/log" >&2
stop
exit 1
