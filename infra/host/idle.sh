#!/bin/sh
# Once a minute: end this machine when nobody has used it for so long. In use means: a GPU works, a training's
# container runs, the guard has something to save, an image is being built, data comes or goes, or somebody types.
# It says what it found here and in /run/provision/idle. The idle time is counted by the uptime: no clock that is set
# ends the machine. Nothing counts before the bootstrap has said ready.
# usage: idle.sh SECONDS    0: never
set -eu
limit=${1%.*}
run=${RUN:-/run/provision}
proc=${PROC:-/proc}
busy_gpu=5      # % of a GPU, as nvidia-smi reports it for the last second
traffic=6000000 # bytes since the last look: 100 kB/s over a minute

say() { echo "$1" | tee "$run/idle"; }

gpu() {
    timeout -k 1 30 nvidia-smi --query-gpu=utilization.gpu --format=csv,noheader,nounits 2>/dev/null |
        awk -v least=$busy_gpu '$1 + 0 >= least { busy = 1 } END { exit !busy }'
}
container() { [ -n "$(timeout -k 1 30 docker ps -q --filter label=provision.run 2>/dev/null)" ]; }
unsaved() { [ -s "${RUNS:-/var/lib/provision/runs}/.unfinished" ]; } # the guard writes it
build() { grep -qs "[b]uildkit/executor" "$proc"/[0-9]*/cmdline; }
copy() {
    now=$(awk '!/lo:|veth|docker|br-/ { sub(/.*:/, ""); sum += $1 + $9 } END { printf "%.0f", sum }' "$proc/net/dev")
    before=$(cat "$run/traffic" 2>/dev/null) || before=$now
    echo "$now" > "$run/traffic"
    [ $((now - before)) -ge $traffic ]
}
in_use() {
    copy && why="data comes or goes"
    if gpu; then why="a GPU works"
    elif container; then why="a training runs"
    elif unsaved; then why="a training is being saved"
    elif build; then why="an image is being built"
    fi
    [ -n "$why" ]
}

# seconds since somebody last typed: reading a key sets a terminal's access time, what a program prints does not
typed() {
    last=$(stat -c %X "${PTS:-/dev/pts}"/[0-9]* 2>/dev/null | sort -n | tail -n 1)
    age=$(($(date +%s) - ${last:-0}))
    [ $age -ge 0 ] || age=0
    echo $age
}

mkdir -p "$run"
[ "$limit" -gt 0 ] || { say "never ends by being idle"; exit 0; }
[ -e "${READY:-/var/lib/provision/ready}" ] || { say "not counted before the machine is ready"; exit 0; }
up=$(cut -d . -f 1 "$proc/uptime")
why=
if in_use; then
    echo "$up" > "$run/idle-since"
    say "in use: $why"
    exit 0
fi
[ -s "$run/idle-since" ] || echo "$up" > "$run/idle-since"
idle=$((up - $(cat "$run/idle-since")))
typed=$(typed)
[ "$idle" -le "$typed" ] || idle=$typed
if [ $idle -lt "$limit" ]; then
    say "idle for $((idle / 60)) of $((limit / 60)) minutes"
else
    say "idle for $((idle / 60)) minutes: power-off"
    systemctl start --no-block provision-deadline.service
fi
