#!/usr/bin/env bash
# Compiles types.c again; the object is committed, as those of ../objects are.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
clang-19 -O2 -g -target bpf -mcpu=v3 -fdebug-compilation-dir=. -Wall -c types.c -o types.o
llvm-strip-19 --strip-debug types.o
