#!/bin/sh
# Once a minute: end this machine when nobody has used it for so long. In use means: a GPU works, the CPUs do (whoever
# makes them), a training's container runs or is being prepared, the guard has something to save, an image is being
# built, data comes or goes, a program runs in a box or over SSH without a terminal, or somebody types.
# It says what it found here and in /run/provision/idle. The idle time is counted by the uptime: no clock that is set
# ends the machine. Nothing counts before the bootstrap has said ready: provision-unready.timer sees to that.
# usage: idle.sh SECONDS    0: never
set -eu
limit=${1%.*}
run=${RUN:-/run/provision}
proc=${PROC:-/proc}
busy_gpu=5      # % of a GPU, as nvidia-smi reports it for the last second
busy_cpu=50     # % of one CPU since the last look
traffic=6000000 # bytes since the last look: 100 kB/s over a minute

say() { echo "$1" | tee "$run/idle"; }

gpu() {
    timeout -k 1 30 nvidia-smi --query-gpu=utilization.gpu --format=csv,noheader,nounits 2>/dev/null |
        awk -v least=$busy_gpu '$1 + 0 >= least { busy = 1 } END { exit !busy }'
}
docker_() { timeout -k 1 30 docker "$@" 2>/dev/null; }
container() { [ -n "$(docker_ ps -q --filter label=provision.run)" ]; }
unsaved() { [ -s "$run/unfinished" ]; } # the guard writes it
attempt() { cat "$proc"/[0-9]*/cmdline 2>/dev/null | tr '\0' ' ' | grep -q "/opt/provision/[g]uard begin"; }
build() { grep -qs "[b]uildkit/executor" "$proc"/[0-9]*/cmdline; }
copy() {
    now=$(awk '!/lo:|veth|docker|br-/ { sub(/.*:/, ""); sum += $1 + $9 } END { printf "%.0f", sum }' "$proc/net/dev")
    before=$(cat "$run/traffic" 2>/dev/null) || before=$now
    echo "$now" > "$run/traffic"
    [ $((now - before)) -ge $traffic ]
}
# a box waits with `sleep infinity`; a shell waits for who types
box() {
    for id in $(docker_ ps -q --filter label=provision.box); do
        docker_ top "$id" -o pid,comm
    done | awk '$1 + 0 && $2 !~ /^(docker-init|tini|sleep|-?[a-z]*sh)$/ {
        gsub(/[^a-zA-Z0-9_.:+-]/, "?", $2); print $2 " runs in a box"; exit }'
}
pids() { grep -ls "$1" "$proc"/[0-9]*/cmdline | tr '\n' ' ' || true; }
# What others' programs did since the last look: all but the kernel's and ours. A process's time has that of its
# children which have ended, so a build of a thousand short ones counts whole.
work() {
    cat "$proc"/[0-9]*/stat 2>/dev/null | awk -v own="$(pids '/opt/provision/[gi]')" -v remote="$(pids @notty)" \
        -v up="$up" -v least=$busy_cpu -v file="$run/cpu" '
        BEGIN {
            while ((getline line < file) > 0) { split(line, word, " "); was[word[1]] = word[2] }
            close(file)
        }
        {
            name = rest = $0
            sub(/^[^(]*\(/, "", name); sub(/\)[^)]*$/, "", name); gsub(/[^a-zA-Z0-9_.:+ -]/, "?", name)
            sub(/.*\) /, "", rest); split(rest, field, " ")
            if ($1 == 2 || field[2] == 2 || index(own, "/" $1 "/cmdline")) next
            if (index(remote, "/" field[2] "/cmdline") && name !~ /^(sshd|sftp)/) command = name
            now[$1] = field[12] + field[13] + field[14] + field[15]
            sum += now[$1]
            if (now[$1] - was[$1] > most) { most = now[$1] - was[$1]; heaviest = name }
        }
        END {
            printf "up %d\nsum %.0f\n", up, sum > file
            for (pid in now) printf "%s %.0f\n", pid, now[pid] > file
            span = up - was["up"]
            if (span < 10) span = 10
            if (command) print command " runs over SSH"
            else if ("sum" in was && sum - was["sum"] > least * span) print heaviest " uses the CPU"
        }'
}
in_use() {
    copy && why="data comes or goes"
    did=$(work)
    if gpu; then why="a GPU works"
    elif container; then why="a training runs"
    elif unsaved; then why="a training is being saved"
    elif attempt; then why="a training is being prepared"
    elif build; then why="an image is being built"
    else
        [ -n "$did" ] || did=$(box)
        why=${did:-$why}
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
if [ "$idle" -lt "$limit" ]; then
    say "idle for $((idle / 60)) of $((limit / 60)) minutes"
else
    say "idle for $((idle / 60)) minutes: power-off"
    systemctl start --no-block provision-deadline.service
fi
