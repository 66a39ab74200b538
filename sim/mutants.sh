#!/usr/bin/env bash
# Breaks the product on purpose, one patch of testdata/mutants at a time, and
# runs the simulation on each, or, where its name begins with nodes-, two nodes that
# meet at every statement, or with store-, the tests of PostgreSQL's store that look
# at what no count tells: one that is not found out fails the run.
#
#	sim/mutants.sh            all of them
#	sim/mutants.sh NAME...    these
#
# BUDGET is how long the simulation may look for each (90s).
set -euo pipefail
cd "$(dirname "$0")/.."

budget=${BUDGET:-90s}
if [ $# -gt 0 ]; then
	patches=$(printf 'testdata/mutants/%s.patch\n' "$@")
else
	patches=$(ls testdata/mutants/*.patch)
fi

# A copy of the tree as it is, so that nothing here is ever broken.
tree=$(mktemp -d "${TMPDIR:-/tmp}/usance-mutants.XXXXXX")
trap 'rm -rf "$tree"' EXIT
git ls-files -z --cached --others --exclude-standard | tar --null --ignore-failed-read -cf - -T - 2>/dev/null | tar -xf - -C "$tree"

survived=0
printf '%-28s %-9s %6s %6s  %s\n' mutant result seed step difference
for patch in $patches; do
	name=$(basename "$patch" .patch)
	patch=$PWD/$patch
	# In full context: a patch that fits only loosely may break something else than it says.
	(cd "$tree" && git apply "$patch") || { echo "$name: the patch does not apply; write it anew" >&2; exit 1; }
	tests=sim
	case $name in store-*) tests=store/postgres ;; esac
	if ! (cd "$tree" && go test -c -o sim.test "./$tests") >"$tree/log" 2>&1; then
		cat "$tree/log" >&2
		echo "$name: does not build; write it anew" >&2
		exit 1
	fi
	case $name in
	# The pair of operations, on one licence, that the patch says it harms: all pairs take long.
	nodes-*) run=(-test.run TestInterleaved -every -pair "$(sed -n 's/^Pair: //p' "$patch")/same") difference='/(same|apart)/[0-9]+/[0-9]+, stopped before' ;;
	store-*) run=(-test.run InKeyOrder) difference='_test.go:[0-9]+: counters are not locked' ;;
	*) run=(-test.run TestSimulation -budget "$budget" -patience 20s) difference='seed [0-9]+, step [0-9]+:' ;;
	esac
	if (cd "$tree/$tests" && "$tree/sim.test" -test.timeout 0 "${run[@]}") >"$tree/log" 2>&1; then
		survived=$((survived + 1))
		printf '%-28s %-9s\n' "$name" SURVIVED
	else
		found=$(grep -m1 -A2 -E "$difference" "$tree/log" | tr '\n' ' ' || true)
		if [ -z "$found" ]; then
			cat "$tree/log" >&2
			echo "$name: the tests failed, but not by a difference" >&2
			exit 1
		fi
		seed=$(sed -nE 's/.*seed ([0-9]+), step.*/\1/p' <<<"$found")
		step=$(sed -nE 's/.*step ([0-9]+):.*/\1/p' <<<"$found")
		what=$(sed -E 's/.*(step [0-9]+|_test.go:[0-9]+): *//; s/ +/ /g' <<<"$found")
		printf '%-28s %-9s %6s %6s  %s\n' "$name" found "$seed" "$step" "${what:0:110}"
	fi
	(cd "$tree" && git apply -R "$patch")
done
if [ "$survived" -gt 0 ]; then
	echo "mutants: the tests did not find $survived of them" >&2
	exit 1
fi
