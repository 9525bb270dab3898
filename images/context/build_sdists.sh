#!/bin/sh
# build_sdists.sh REQUIREMENTS: make wheels of the source packages in the list, and install them. A setup.py is a
# program of others: it runs as a user who can change nothing of the image. The compilers and NumPy are there by now.
set -eu
place=$(mktemp -d)
grep '# sdist$' "$1" > "$place/sdists.txt"
for secret in ca pip; do
    if [ -s "/run/secrets/$secret" ]; then cp "/run/secrets/$secret" "$place/$secret"; fi
done
chown -R nobody "$place"
if [ -e "$place/ca" ]; then export PIP_CERT="$place/ca" SSL_CERT_FILE="$place/ca" CURL_CA_BUNDLE="$place/ca"; fi
if [ -e "$place/pip" ]; then export PIP_CONFIG_FILE="$place/pip"; fi
setpriv --reuid nobody --regid nogroup --clear-groups env HOME="$place" TMPDIR="$place" \
    pip wheel -q --no-cache-dir --no-deps --no-build-isolation --require-hashes -r "$place/sdists.txt" -w "$place/wheels"
pip install -q --no-cache-dir --no-compile --no-deps --no-index "$place"/wheels/*.whl
rm -rf "$place"
