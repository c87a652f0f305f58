#!/bin/bash -eu
# Builds the fuzz targets as OSS-Fuzz wants them: with the compiler, flags and fuzzing engine of the environment, everything
# linked statically and built from source, a seed corpus and options beside each target.
#
# SRC holds the sources: bpfsieve, zlib, elfutils, libbpf, abseil, onetbb, json, cli11. OUT gets the targets, WORK is for
# what lies between.
deps=$WORK/deps
mkdir -p "$deps/lib" "$deps/include"
export PKG_CONFIG_PATH=$deps/lib/pkgconfig PKG_CONFIG_LIBDIR=$deps/lib/pkgconfig
jobs=$(nproc)

# zlib
mkdir -p "$WORK/zlib" && cd "$WORK/zlib"
"$SRC/zlib/configure" --static --prefix="$deps" >/dev/null
make -j"$jobs" install >/dev/null

# libelf alone out of elfutils, without compression other than zlib
mkdir -p "$WORK/elfutils" && cd "$WORK/elfutils"
[ -x "$SRC/elfutils/configure" ] || (cd "$SRC/elfutils" && autoreconf -i -f)
# (Its test for thread-local variables links a shared object without undefined symbols, which no sanitizer can.)
ac_cv_tls=yes "$SRC/elfutils/configure" --enable-maintainer-mode --disable-debuginfod --disable-libdebuginfod \
  --without-bzlib --without-lzma --without-zstd --with-zlib --prefix="$deps" CPPFLAGS="-I$deps/include" \
  CFLAGS="$CFLAGS -Wno-error -Wno-unused-command-line-argument" LDFLAGS="-L$deps/lib" >/dev/null
make -C lib -j"$jobs" >/dev/null
make -C libelf -j"$jobs" libelf.a >/dev/null
cp libelf/libelf.a "$deps/lib/"
cp "$SRC/elfutils/libelf/libelf.h" "$SRC/elfutils/libelf/gelf.h" "$SRC/elfutils/libelf/nlist.h" "$SRC/elfutils/libelf/elf.h" \
  "$deps/include/"
mkdir -p "$deps/lib/pkgconfig"
cat >"$deps/lib/pkgconfig/libelf.pc" <<PC
Name: libelf
Description: ELF files
Version: 0.190
Cflags: -I$deps/include
Libs: -L$deps/lib -lelf -lz
PC

# libbpf
mkdir -p "$WORK/libbpf"
make -C "$SRC/libbpf/src" -j"$jobs" BUILD_STATIC_ONLY=1 OBJDIR="$WORK/libbpf" PREFIX="$deps" LIBDIR="$deps/lib" \
  CFLAGS="$CFLAGS -I$deps/include -fPIC" install install_uapi_headers >/dev/null
# Linked statically, what it needs is needed by whoever links it.
sed -i 's/^Requires.private:/Requires:/' "$deps/lib/pkgconfig/libbpf.pc"

# the rest comes in through CMake
cmake -S "$SRC/bpfsieve" -B "$WORK/bpfsieve" -G Ninja -DCMAKE_BUILD_TYPE=None -DBUILD_SHARED_LIBS=OFF -DBPFSIEVE_TESTS=OFF \
  -DBPFSIEVE_ABSL_SOURCE="$SRC/abseil" -DBPFSIEVE_TBB_SOURCE="$SRC/onetbb" -DBPFSIEVE_JSON_SOURCE="$SRC/json" \
  -DBPFSIEVE_CLI11_SOURCE="$SRC/cli11" -DZLIB_LIBRARY="$deps/lib/libz.a" -DZLIB_INCLUDE_DIR="$deps/include" \
  -DCMAKE_DISABLE_PRECOMPILE_HEADERS=ON >/dev/null
cmake --build "$WORK/bpfsieve" -j "$jobs" --target fuzz/targets/all

"$WORK/bpfsieve/fuzz/targets/seeds" "$SRC/bpfsieve" "$WORK/seeds"
for binary in "$WORK"/bpfsieve/fuzz/targets/fuzz_*; do
  name=${binary##*/fuzz_}
  [ -x "$binary" ] || continue
  cp "$binary" "$OUT/"
  (cd "$WORK/seeds/$name" && zip -q -r "$OUT/fuzz_${name}_seed_corpus.zip" .)
  for kind in options dict; do
    [ ! -f "$SRC/bpfsieve/fuzz/targets/$name.$kind" ] || cp "$SRC/bpfsieve/fuzz/targets/$name.$kind" "$OUT/fuzz_$name.$kind"
  done
done
