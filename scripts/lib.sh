# Shared by the scripts; source it. Works from any folder.
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
logs=$top/build/logs
jobs=${BPFSIEVE_JOBS:-$(nproc)}
mkdir -p "$logs"

# Compilations are repeated across build folders; ccache makes them cheap where it is installed.
if command -v ccache >/dev/null; then
  export CMAKE_C_COMPILER_LAUNCHER=ccache CMAKE_CXX_COMPILER_LAUNCHER=ccache
fi

say() { printf '== %s\n' "$*"; }
die() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

# quietly NAME COMMAND...: output to build/logs/NAME.log; shown (its end) only where the command fails.
quietly() {
  local log=$logs/$1.log
  shift
  if ! "$@" >"$log" 2>&1; then
    tail -n 40 "$log" >&2
    die "failed: $* (whole output in $log)"
  fi
}

as_root() {
  if [ "$(id -u)" = 0 ]; then
    env DEBIAN_FRONTEND=noninteractive "$@"
  else
    sudo env DEBIAN_FRONTEND=noninteractive "$@"
  fi
}

# missing_packages PACKAGE...: sets `missing`.
missing_packages() {
  missing=()
  local package
  for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
}

# need PACKAGE...: installs those that are missing.
need() {
  command -v apt-get >/dev/null || { say "no apt-get here; taking the packages for granted: $*"; return 0; }
  missing_packages "$@"
  [ ${#missing[@]} -gt 0 ] || return 0
  if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; then
    die "missing packages, and neither root nor sudo to install them: ${missing[*]}"
  fi
  say "installing ${missing[*]}"
  quietly apt-update as_root apt-get update -q
  quietly apt-install as_root apt-get install -q -y --no-install-recommends "${missing[@]}"
}

# want PACKAGE...: as need, but goes on without those that cannot be had.
want() {
  ( need "$@" ) 2>/dev/null || say "going on without: $*"
}

# What the engine and the command line are built from.
build_packages=(g++ cmake ninja-build pkg-config libabsl-dev libtbb-dev libelf-dev libbpf-dev zlib1g-dev
  nlohmann-json3-dev libcli11-dev)
# What the tests need on top: the second compiler, its sanitizers' run-time and symbolizer, and what counts instructions.
test_packages=(libgtest-dev libgmock-dev clang-19 libclang-rt-19-dev llvm-19 valgrind python3)

# build_preset NAME [cmake arguments]: configures and builds build/NAME; of it only what $build_only names, if that is set.
build_preset() {
  local preset=$1
  shift
  say "building $preset (build/logs/build-$preset.log)"
  quietly "configure-$preset" cmake -S "$top" --preset "$preset" "$@"
  quietly "build-$preset" cmake --build "$top/build/$preset" -j "$jobs" ${build_only:+--target $build_only}
}
