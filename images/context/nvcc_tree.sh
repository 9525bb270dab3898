#!/bin/sh
# /opt/cuda-for-caffe: a CUDA tree whose nvcc goes through ccache. Nothing to do where there is no CUDA.
#
# NVIDIA's packages keep headers and libraries below /usr/local/cuda, and the tree links there. Debian's keep them where
# the compiler looks anyway: there the tree has nvcc alone. (With /usr/include named on the command line, g++'s own
# `#include_next <stdlib.h>` would find nothing behind it.)
set -eu
tree=/opt/cuda-for-caffe
nvcc=
# Debian's /usr/bin/nvcc is a script; ccache tells compilers apart by the program itself
for one in /usr/lib/nvidia-cuda-toolkit/bin/nvcc /usr/local/cuda/bin/nvcc; do
    if [ -x "$one" ]; then nvcc=$one; break; fi
done
[ -n "$nvcc" ] || exit 0
mkdir -p "$tree/bin"
printf '#!/bin/sh\nexec ccache %s "$@"\n' "$nvcc" > "$tree/bin/nvcc"
chmod 755 "$tree/bin/nvcc"
case $nvcc in
    /usr/local/*)
        for one in include lib64; do ln -sfn "/usr/local/cuda/$one" "$tree/$one"; done
        ;;
esac
"$tree/bin/nvcc" --version | tail -n 1
