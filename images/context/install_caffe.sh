#!/bin/sh
# install_caffe.sh PREFIX python|nopython: programs, library, headers, pycaffe and the proof of the column buffer;
# and PREFIX/packages: the distribution's packages that what was installed links against.
set -eu
prefix=$1 what=$2
mkdir -p "$prefix/bin" "$prefix/lib" "$prefix/share"
for tool in .build_release/tools/*.bin; do
    name=$(basename "$tool" .bin)
    cp "$tool" "$prefix/bin/$name"
done
cp .build_release/lib/libcaffe.so.* "$prefix/lib/"
ln -sf "$(basename "$prefix"/lib/libcaffe.so.*)" "$prefix/lib/libcaffe.so"
cp src/caffe/proto/caffe.proto "$prefix/share/"
cp /context/fcn8s.py "$prefix/share/"
if [ "$what" = python ]; then
    cp -r python "$prefix/python"
    find "$prefix/python" -name '*.ipynb' -o -name '*.pyc' -o -name 'CMakeLists.txt' | xargs rm -f
    mkdir -p "$prefix/tools"
    cp -r tools/extra/*.py "$prefix/tools/" 2>/dev/null || true
fi
includes=$(sed -n 's/^\(PYTHON_INCLUDE\|INCLUDE_DIRS\) := //p' Makefile.config | sed 's/\$([A-Z_]*)//g' | tr ' ' '\n' | sed '/^$/d; s/^/-I/')
libraries=$(sed -n 's/^LIBRARY_DIRS := //p' Makefile.config | sed 's/\$([A-Z_]*)//g' | tr ' ' '\n' | sed '/^$/d; s/^/-L/')
defines=$(sed -n 's/^CPU_ONLY := 1/-DCPU_ONLY/p; s/^USE_CUDNN := 1/-DUSE_CUDNN/p; s/^USE_NCCL := 1/-DUSE_NCCL/p' Makefile.config)
flags=$(sed -n 's/^CXXFLAGS += //p' Makefile.config)
cuda=
if [ -d /opt/cuda-for-caffe ]; then cuda="-I/opt/cuda-for-caffe/include -L/opt/cuda-for-caffe/lib64 -L/opt/cuda-for-caffe/lib -lcudart"; fi
# shellcheck disable=SC2086
/opt/ccache/g++ -O2 -pthread $flags $defines $includes -Iinclude -I.build_release/src /context/column_buffer.cpp \
    -o "$prefix/bin/column-buffer" -Wl,--as-needed $libraries -L"$prefix/lib" -lcaffe -lglog -lgflags -lprotobuf \
    -lboost_system -lboost_thread $cuda -Wl,-rpath,'$ORIGIN/../lib'
strip --strip-unneeded "$prefix"/bin/* "$prefix"/lib/libcaffe.so.* 2>/dev/null || true
find "$prefix" -name '*.so' -exec strip --strip-unneeded {} + 2>/dev/null || true
# direct needs only: apt brings what those need
find "$prefix/bin" "$prefix/lib" "$prefix/python" -type f 2>/dev/null | while read -r file; do
    objdump -p "$file" 2>/dev/null | sed -n 's/^ *NEEDED *//p'
done | sort -u > /tmp/needed
LD_LIBRARY_PATH=$prefix/lib
export LD_LIBRARY_PATH
find "$prefix" -type f \( -path '*/bin/*' -o -name '*.so*' \) -exec ldd {} + 2>/dev/null |
    sed -n 's/^\s*\(\S*\) => \(\/\S*\).*/\1 \2/p' | sort -u |
    while read -r name path; do
        grep -qxF "$name" /tmp/needed || continue
        case $path in "$prefix"/* | /opt/nvidia/* | /usr/local/cuda*) continue ;; esac
        owner=$(dpkg -S "$(readlink -f "$path")" 2>/dev/null || dpkg -S "$(readlink -f "$path" | sed 's,^/usr,,')" 2>/dev/null || dpkg -S "$path")
        echo "$owner" | head -n 1 | sed 's/: .*//; s/:amd64$//'
    done | sort -u | tr '\n' ' ' > "$prefix/packages"
cat "$prefix/packages"
echo
