#!/bin/sh
# get_source.sh URL COMMIT FOLDER: the source tree, from the tar that came with the build context or else from git.
set -eu
url=$1 commit=$2 folder=$3
mkdir -p "$folder"
if [ -e /context/source.tar ]; then
    tar -x -f /context/source.tar -C "$folder" --no-same-owner
else
    git init -q "$folder"
    if ! git -C "$folder" fetch -q --depth 1 "$url" "$commit"; then
        echo "cannot get $commit of $url: give a copy that you have with --source-mirror" >&2
        exit 1
    fi
    git -C "$folder" -c advice.detachedHead=false checkout -q FETCH_HEAD
    rm -rf "$folder/.git"
fi
