#!/usr/bin/env bash
# Compiles the C programs of this folder again; the objects are committed, so that nobody needs a BPF compiler.
# After a change: run this, then the corpus and oracle tests. Needs clang-19, llvm-19, libbpf-dev, linux-libc-dev.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
for source in "${@:-*.c}"; do
  for file in $source; do
    clang-19 -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_x86 -I"/usr/include/$(gcc -dumpmachine)" \
      -fdebug-compilation-dir=. -Wall -c "$file" -o "${file%.c}.o"
    llvm-strip-19 --strip-debug "${file%.c}.o"  # DWARF goes, BTF stays
  done
done
