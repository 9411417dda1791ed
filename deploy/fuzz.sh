#!/usr/bin/env bash
# Runs every fuzz target, or those whose "package Name" matches a pattern, until each has had
# some CPU seconds, and prints one line each: CPU seconds, inputs tried, largest resident
# memory in MiB.
#
#   deploy/fuzz.sh [-t SECONDS] [PATTERN]      deploy/fuzz.sh -t 600 'ingest/|schemas/event'
#
# It fails when a target crashes, stops trying inputs (a hang) or grows beyond 1 GiB; the
# input of a crash lies in the package's testdata/fuzz afterwards and belongs into a test.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

seconds=600
if [[ ${1:-} == -t ]]; then seconds=$2; shift 2; fi
readonly seconds pattern=${1:-.} limit_kb=$((1 << 20)) ticks=$(getconf CLK_TCK)
log=$(mktemp)
readonly log
trap 'rm -f "$log"' EXIT

# cpu prints the CPU seconds of the children that have ended.
cpu() { awk -v t="$ticks" '{ print int(($16 + $17) / t) }' "/proc/$$/stat"; }

# resident prints the largest resident memory in KiB that a process below $1 has had.
resident() {
  local pid most=0 kb
  for pid in $(cat /proc/"$1"/task/*/children 2>/dev/null || true); do
    kb=$(awk '/^VmHWM/ { print $2 }' "/proc/$pid/status" 2>/dev/null || true)
    ((${kb:-0} <= most)) || most=$kb
    kb=$(resident "$pid")
    ((kb <= most)) || most=$kb
  done
  echo "$most"
}

# fuzz runs one target of one package and prints its line.
fuzz() {
  local package=$1 target=$2 inputs=0 most=0 verdict='' start kb n pid
  local go=(go test -run '^$' -fuzz "^$target\$" -fuzzminimizetime 2s -parallel 1 "./$package") # a minute of minimizing is its default, for each input
  "${go[@]}" -fuzztime 1x >"$log" 2>&1 || { cat "$log" >&2; return 1; } # compiles
  start=$(cpu)
  # A busy machine gives less than a core: go on until the CPU seconds are reached.
  while [[ -z $verdict ]] && (($(cpu) - start < seconds)); do
    "${go[@]}" -fuzztime "$((seconds - $(cpu) + start + 1))s" >"$log" 2>&1 &
    pid=$!
    while kill -0 "$pid" 2>/dev/null; do
      kb=$(resident "$pid")
      ((kb <= most)) || most=$kb
      sleep 2
    done
    # When its time ends just then, go test may call that a failure.
    wait "$pid" || { grep -q 'context deadline exceeded' "$log" && ! grep -q 'Failing input' "$log"; } || verdict=FAILED
    n=$(grep -oE '(execs|coverage): [0-9]+' "$log" | tail -1 | cut -d' ' -f2 || true) # old inputs are run first
    inputs=$((inputs + ${n:-0}))
    ((${n:-0} > 0)) || verdict=${verdict:-HUNG}
    ((most < limit_kb)) || verdict=${verdict:-GREW}
  done
  printf '%-32s %-18s %8d %12d %8d %s\n' "$package" "$target" $(($(cpu) - start)) "$inputs" $((most / 1024)) "$verdict"
  [[ -z $verdict ]] || { cat "$log" >&2; return 1; }
}

failed=0
printf '%-32s %-18s %8s %12s %8s\n' package target 'CPU s' inputs 'MiB'
while read -r package target; do
  [[ "$package $target" =~ $pattern ]] || continue
  fuzz "$package" "$target" || failed=1
done < <(git grep -n '^func Fuzz' -- '*_test.go' | sed -E 's#^(.*)/[^/]*_test\.go:[0-9]+:func (Fuzz[A-Za-z0-9]*).*#\1 \2#' | sort)
exit $failed
