#!/bin/sh
# Builds every module in this folder: build.sh OUTDIR. A file NAME.c is a module in C; a folder with
# NAME/NAME.swift is a module in Embedded Swift, on ModuleKit. build.sh OUTDIR FOLDER … builds the
# modules in Swift in other folders.
set -eu

if [ $# -eq 0 ]; then
  echo "usage: $0 OUTDIR [FOLDER ...]" >&2
  exit 2
fi
mkdir -p "$1"
out=$(CDPATH='' cd -- "$1" && pwd)
shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for folder; do (CDPATH='' cd -- "$folder" && pwd) >>"$work/folders"; done
cd -- "$(dirname -- "$0")"
includes='-I ../../Sources/CModuleABI/include -I ../Sources/CRelay/include -I ModuleKit/include'

# An image NAME.so from files and options: image NAME FILE …
image() {
  name=$1
  shift
  # A new file under the old name, not new bytes in the old file: a reader finds one of the two.
  # shellcheck disable=SC2086 # several options
  "${CC:-clang}" -std=c11 -D_GNU_SOURCE -Wall -Wextra -O2 -g -fPIC -fvisibility=hidden -shared $includes \
    -o "$out/$name.so.new" "$@"
  mv "$out/$name.so.new" "$out/$name.so"
}

if [ $# -eq 0 ]; then
  for source in *.c; do image "$(basename "$source" .c)" "$source"; done
  for source in */*.swift; do
    folder=$(dirname "$source")
    if [ "$source" = "$folder/$folder.swift" ]; then echo "$folder" >>"$work/folders"; fi
  done
fi

# An object file NAME.o, and the Swift module of the same name: swift_object NAME FILE …
swift_object() {
  name=$1
  shift
  # shellcheck disable=SC2046,SC2086 # several options
  swiftc -swift-version 6 -enable-experimental-feature Embedded -wmo -parse-as-library -O -g -c \
    -module-cache-path "$work/cache" -I "$work" $includes $(printf -- '-Xcc %s ' $includes) \
    -module-name "$name" -emit-module -emit-module-path "$work/$name.swiftmodule" -o "$work/$name.o" "$@"
}
swift_object ModuleKit ModuleKit/*.swift
# What the image has of Swift's runtime is its own, and is not bound to the host's: nothing but the
# entry is visible.
printf '{ global: quiescent_module; local: *; };\n' >"$work/exports"
while IFS= read -r folder; do
  module=$(basename "$folder")
  if [ -e "$folder/$module.h" ]; then
    swift_object "$module" -import-objc-header "$folder/$module.h" "$folder"/*.swift
  else
    swift_object "$module" "$folder"/*.swift
  fi
  image "$module" "$folder"/*.c ModuleKit/*.c "$work/$module.o" "$work/ModuleKit.o" \
    -Wl,-Bsymbolic -Wl,--version-script="$work/exports" -Wl,--gc-sections -Wl,-z,defs
done <"$work/folders"
