#!/bin/sh
# detectron_tests.sh: those of Detectron's own tests that a CPU can run, each in a process of its own.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cd "$(mktemp -d)"
count=0
for name in bbox_transform cfg loader batch_permutation_op; do
    if ! timeout 120 python "$here/detectron_on_cpu.py" "$here/../src/detectron/tests/test_$name.py" > "$name.log" 2>&1; then
        tail -n 20 "$name.log"
        echo "$name fails"
        exit 1
    fi
    ran=$(sed -n 's/^Ran \([0-9]*\) tests\{0,1\} .*/\1/p' "$name.log")
    count=$((count + ran))
done
echo "own tests pass: $count"
