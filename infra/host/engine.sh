#!/bin/sh
# Make this Debian or Ubuntu machine have a running Docker engine: facts first, then only what is missing.
#   engine.sh [--no-buildx] [PACKAGE...]      PACKAGEs of the distribution are installed along
# Prints a line for each step. Exit: 0 done, 20 not root, 21 no apt, 22 the socket is not ours, 23 no start
set -eu
export DEBIAN_FRONTEND=noninteractive LC_ALL=C

say() { echo "engine: $*"; }
die() { code=$1; shift; echo "engine: $*" >&2; exit "$code"; }
answers() { docker version >/dev/null 2>&1; }
has_buildx() { docker buildx version >/dev/null 2>&1; }
has() { command -v "$1" >/dev/null; }
installed() { [ "$(dpkg-query -Wf '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }
# the network, or another apt, may be in the way for a moment
install_() {
  for pause in 3 10 0; do
    apt-get install -qq -y --no-install-recommends -o DPkg::Lock::Timeout=120 "$@" >/dev/null && return
    [ $pause = 0 ] || { say "that did not work; again in $pause s"; sleep $pause; apt-get update -qq || true; }
  done
  return 1
}

available() { for p; do apt-cache show "$p" >/dev/null 2>&1 && echo "$p"; done || true; }

# Bookworm has no docker-buildx; the next release's needs nothing newer. It comes through the host's own mirror,
# with package lists apart, so that this machine's apt never learns of the other release.
buildx_of() {
  mirror=$(apt-get update --print-uris | sed -n "s,^'\(.*\)/dists/$VERSION_CODENAME/InRelease'.*,\1,p" | head -n 1)
  [ -n "$mirror" ] || return 1
  d=$(mktemp -d) && mkdir "$d/lists" && chmod -R 755 "$d"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $1 main" >"$d/list"
  set -- -qq -o Dir::Etc::SourceList="$d/list" -o Dir::Etc::SourceParts=/dev/null -o Dir::State::Lists="$d/lists" \
    -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o Acquire::Languages=none
  (cd "$d" && apt-get "$@" update && apt-get "$@" download docker-buildx 2>/dev/null && dpkg -i ./*.deb >/dev/null)
  rm -rf "$d"
}

add_buildx() {
  say "installing docker-buildx"
  if [ -n "$(available docker-buildx)" ]; then install_ docker-buildx
  elif [ "${VERSION_CODENAME:-}" = bookworm ]; then buildx_of trixie
  fi || true
  has_buildx || say "no docker-buildx to be had: builds use DOCKER_BUILDKIT=1 docker build"
}

start() {
  if [ -d /run/systemd/system ]; then
    say "starting docker"
    systemctl enable -q --now docker
  else
    say "starting dockerd by hand (no systemd), log in /var/log/dockerd.log"
    setsid dockerd >>/var/log/dockerd.log 2>&1 </dev/null &
  fi
}

wait_for() { # SECONDS
  n=0
  until answers; do
    n=$((n + 1))
    [ $n -le $(($1 * 2)) ] || return 1
    sleep 0.5
  done
}

main() {
  buildx=yes
  [ "${1:-}" != --no-buildx ] || { buildx=no; shift; }
  want=$(for p; do installed "$p" || echo "$p"; done)
  engine=no; answers && engine=yes
  [ $buildx = no ] || ! has_buildx || buildx=no
  [ "$engine$buildx$want" != yesno ] || return 0

  if [ $engine = no ] && has docker && docker version 2>&1 | grep -qi 'permission denied'; then
    die 22 "the Docker socket does not let this user in"
  fi
  if [ "$(id -u)" != 0 ] || ! has apt-get; then
    [ $engine = yes ] || { has apt-get && die 20 "no Docker engine answers"; die 21 "no Docker engine answers"; }
    say "left out, as only root can add it with apt: $([ $buildx = no ] || echo docker-buildx)" $want
    return 0
  fi

  . /etc/os-release
  say "reading the package lists"
  apt-get update -qq || say "some package lists cannot be read"
  if ! has dockerd && [ $engine = no ]; then
    want="docker.io $(available docker-cli iptables ca-certificates) $want"
  fi
  if [ -n "$want" ]; then
    say "installing" $want
    install_ $want
  fi
  [ $buildx = no ] || add_buildx
  if [ $engine = no ] && ! wait_for 1; then
    start
    wait_for 30 || die 23 "dockerd did not answer within 30 s: $(tail -n 3 /var/log/dockerd.log 2>/dev/null)"
  fi
}

main "$@" </dev/null
