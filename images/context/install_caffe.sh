#!/bin/sh
# install_caffe.sh PREFIX python|nopython: what was compiled in the current folder, and the proof of the column buffer.
# PREFIX/packages lists the distribution's packages that it links against; not those on hold, which are CUDA's: the
# image's base has them, and apt refuses to be asked for them.
set -eu
prefix=$1 what=$2
mkdir -p "$prefix/bin" "$prefix/lib" "$prefix/share"
for tool in .build_release/tools/*.bin; do
    cp "$tool" "$prefix/bin/$(basename "$tool" .bin)"
done
cp .build_release/lib/libcaffe.so.* "$prefix/lib/"
ln -sf "$(basename "$prefix"/lib/libcaffe.so.*)" "$prefix/lib/libcaffe.so"
cp src/caffe/proto/caffe.proto /context/fcn8s.py LICENSE "$prefix/share/"
if [ "$what" = python ]; then
    cp -r python "$prefix/python"
    mkdir -p "$prefix/tools"
    cp tools/extra/*.py "$prefix/tools/"
fi
cp .build_release/proof/column-buffer "$prefix/bin/"

# programs and libraries, by what they begin with: stripped, and asked for the libraries that they need themselves
find "$prefix" -type f -size +3c | while read -r file; do
    if [ "$(head -c 4 "$file" | tail -c 3)" = ELF ]; then echo "$file"; fi
done > /tmp/compiled
xargs strip --strip-unneeded < /tmp/compiled
apt-mark showhold | sed 's/:amd64$//' > /tmp/held
xargs -n 1 objdump -p < /tmp/compiled | sed -n 's/^ *NEEDED *//p' | sort -u > /tmp/needed
LD_LIBRARY_PATH="$prefix/lib" xargs ldd < /tmp/compiled | sed -n 's/^\s*\(\S*\) => \(\/\S*\).*/\1 \2/p' | sort -u |
    while read -r name path; do
        grep -qxF "$name" /tmp/needed || continue
        case $path in "$prefix"/* | /opt/nvidia/* | /usr/local/cuda*) continue ;; esac
        # dpkg knows a file by the name it had before /lib became a link to /usr/lib, or after
        real=$(readlink -f "$path")
        echo "$real"
        case $real in /usr/*) echo "${real#/usr}" ;; esac
    done > /tmp/libraries
# dpkg reads its whole list for each question: all at once
{ xargs dpkg -S < /tmp/libraries 2>/dev/null || true; } | sed 's/: .*//; s/:amd64$//' |
    grep -vxF -f /tmp/held | sort -u | tr '\n' ' ' > "$prefix/packages"
cat "$prefix/packages"
