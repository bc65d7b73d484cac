#!/bin/sh
# Builds every module in this folder: build.sh OUTDIR
set -eu

if [ $# -ne 1 ]; then
  echo "usage: $0 OUTDIR" >&2
  exit 2
fi
out=$1
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
root=$here/../..
mkdir -p "$out"

for source in "$here"/*.c; do
  name=$(basename "$source" .c)
  # A new file under the old name, not new bytes in the old file: a host may have the old file
  # mapped.
  "${CC:-clang}" -std=c11 -D_GNU_SOURCE -Wall -Wextra -O2 -g -fPIC -fvisibility=hidden -shared \
    -I "$root/Sources/CModuleABI/include" -I "$root/Tools/Sources/CRelay/include" \
    -o "$out/$name.so.new" "$source"
  mv "$out/$name.so.new" "$out/$name.so"
done
