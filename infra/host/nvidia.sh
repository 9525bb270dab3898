#!/bin/sh
# Make this machine's NVIDIA GPUs usable in containers: facts first, then only what is missing.
#   nvidia.sh GPUS BRANCH REPOSITORY KEY
# GPUS: how many there must be, as AWS says of the type. BRANCH: the driver (535) to install where none works, empty
# where the machine image is to have one. The container toolkit comes from REPOSITORY, signed by KEY (fingerprint).
# Prints a line for each step. Exit: 0 done, 30 no driver, 31 a wrong key, 32 no toolkit, 33 too few GPUs
set -eu
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
gpus=$1 branch=$2 repository=$3 key=$4
keyring=/usr/share/keyrings/nvidia-container-toolkit.asc
list=/etc/apt/sources.list.d/nvidia-container-toolkit.list

say() { echo "nvidia: $*"; }
die() { code=$1; shift; echo "nvidia: $*" >&2; exit "$code"; }
has() { command -v "$1" >/dev/null; }
# one line for each GPU: the driver's version; none where no driver works
look() { drivers=$(nvidia-smi --query-gpu=driver_version --format=csv,noheader 2>/dev/null) || drivers=; }
has_toolkit() { has nvidia-container-runtime-hook || has nvidia-container-toolkit; }
has_runtime() { docker info -f '{{range $name, $_ := .Runtimes}}{{$name}} {{end}}' | grep -qw nvidia; }
available() { apt-cache show "$1" >/dev/null 2>&1; }

# the network, or another apt, may be in the way for a moment
thrice() {
    for pause in 3 10 0; do
        "$@" && return
        [ $pause = 0 ] || { say "that did not work; again in $pause s"; sleep $pause; }
    done
    return 1
}
install_() {
    apt-get install -qq -y --no-install-recommends -o DPkg::Lock::Timeout=120 "$@" >/dev/null && return
    apt-get update -qq || true
    return 1
}

# Driver and kernel module for the kernel that runs now, so that no reboot is needed: Canonical's signed modules where
# they are built for it, else ones that are built here.
driver_packages() {
    kernel=$(uname -r)
    if available "linux-modules-nvidia-$branch-server-$kernel"; then
        echo "linux-modules-nvidia-$branch-server-$kernel nvidia-headless-no-dkms-$branch-server" \
            "nvidia-utils-$branch-server"
    else
        echo "nvidia-driver-$branch-server"
        ! available "linux-headers-$kernel" || echo "linux-headers-$kernel"
    fi
}

fetch() { /usr/lib/apt/apt-helper -qq download-file "$1" "$2" >/dev/null; }

# NVIDIA's repository with the one key that we know; whoever serves another one is not NVIDIA
add_repository() {
    want=
    has gpg || want=gpg
    [ -e /etc/ssl/certs/ca-certificates.crt ] || want="$want ca-certificates"
    # shellcheck disable=SC2086  # words
    [ -z "$want" ] || thrice install_ $want
    folder=$(mktemp -d)
    thrice fetch "$repository/gpgkey" "$folder/key" || die 32 "$repository does not answer"
    found=$(gpg --homedir "$folder" --batch --with-colons --import-options show-only --import "$folder/key" 2>/dev/null |
        awk -F: '$1 == "pub" { own = 1 } $1 == "fpr" && own { print $10; own = 0 }')
    [ "$found" = "$key" ] || die 31 "the key of $repository is ${found:-none}, not $key"
    install -m 644 "$folder/key" "$keyring"
    rm -rf "$folder"
    echo "deb [signed-by=$keyring] $repository/stable/deb/\$(ARCH) /" > $list
}

missing() {
    driver='' toolkit=''
    [ -n "$drivers" ] || driver=yes
    has_toolkit || toolkit=yes
    [ -z "$driver" ] || [ -n "$branch" ] || die 30 "no driver answers, and this machine image was to have one"
}

add_driver() {
    say "installing the driver $branch"
    # shellcheck disable=SC2046  # words
    thrice install_ $(driver_packages) || die 30 "the driver $branch cannot be installed"
    modprobe -q -r nouveau || true
    modprobe nvidia || true
    modprobe -q nvidia-uvm || true
    look
    [ -n "$drivers" ] || die 30 "the driver $branch is installed, but does not work: $(nvidia-smi 2>&1 | head -n 1)"
}

main() {
    look
    missing
    [ -z "$toolkit" ] || add_repository
    [ -z "$driver$toolkit" ] || thrice apt-get update -qq || say "some package lists cannot be read"
    [ -z "$driver" ] || add_driver
    if [ -n "$toolkit" ]; then
        say "installing the container toolkit"
        thrice install_ nvidia-container-toolkit || die 32 "the container toolkit cannot be installed"
    fi
    if ! has_runtime; then
        say "telling Docker of the GPUs"
        nvidia-ctk runtime configure --runtime=docker >&2
        systemctl restart docker
    fi
    count=$(echo "$drivers" | grep -c .)
    [ "$count" -ge "$gpus" ] || die 33 "GPUs that answer: $count; this type has $gpus"
    say "$count GPUs, driver $(echo "$drivers" | head -n 1)"
}

main </dev/null
