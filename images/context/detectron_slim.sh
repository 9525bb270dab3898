#!/bin/sh
# detectron_slim.sh FOLDER: take out of the virtual environment what only builds need; then load all that trainings
# load, which proves that nothing is missing and leaves its byte code for users who may not write here.
set -eu
folder=$1
packages=$("$folder/bin/python" -c 'import numpy, os; print(os.path.dirname(os.path.dirname(numpy.__file__)))')
du -sm "$folder"
# the interpreter itself, not a name for it that another package gives
if [ -L "$folder/bin/python" ]; then ln -sf "$(readlink -f "$folder/bin/python")" "$folder/bin/python"; fi
cd "$packages"
# PyTorch's libraries stay as they are: strip leaves a libtorch_cuda.so that cannot be loaded
rm -rf torch/include torch/share torch/test torch/lib/*.a torch/bin/protoc* caffe2/python/operator_test numpy/core/include
# not pkg_resources: PyTorch asks it for versions
rm -rf [Cc]ython* pyximport pip pip-* setuptools setuptools-* wheel wheel-* easy_install.py _distutils_hack distutils-precedence.pth
rm -f "$folder"/bin/cython* "$folder"/bin/cygdb "$folder"/bin/easy_install* "$folder"/bin/pip* "$folder"/bin/wheel*
find matplotlib mpl_toolkits numpy scipy -type d -name tests -prune -exec rm -rf {} +
find "$folder" -name __pycache__ -prune -exec rm -rf {} +
find "$folder" -name '*.pyc' -delete
find "$folder/src/detectron/utils" -name '*.c' -delete
"$folder/bin/python" "$folder/share/detectron_check.py" imports
du -sm "$folder"
