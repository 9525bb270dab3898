#!/bin/sh
# build_caffe.sh python|nopython|suite COMPILER: compile in the current folder through ccache.
set -eu
what=$1 compiler=$2
mkdir -p /opt/ccache
# one word for a compiler behind ccache: nvcc takes no more (-ccbin)
printf '#!/bin/sh\nexec ccache %s "$@"\n' "$compiler" > /opt/ccache/g++
chmod 755 /opt/ccache/g++
export CCACHE_DIR=/root/.ccache CCACHE_BASEDIR="$PWD" CCACHE_MAXSIZE=3G
sh /context/nvcc_tree.sh
cp /context/Makefile.config Makefile.config
case $what in
    python) set -- tools pycaffe proof ;;
    nopython)
        sed -i '/^WITH_PYTHON_LAYER/d' Makefile.config
        set -- tools proof
        ;;
    suite) set -- .build_release/test/test_all.testbin ;;
esac
make -f /context/caffe.mk -j"$(nproc)" "$@"
ccache -s | grep -i -E '^ *(hits|misses|cache hit|cache miss)' || true
