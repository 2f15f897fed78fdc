#!/usr/bin/env bash
# Fuzzes every parser of outside input, one after the other.
#
#   scripts/fuzz.sh [TIME]     so long each; 20s without
#
# What it finds lies in testdata/fuzz of the package, to be committed with the fix:
# "make test" tries all of that every time. There are also some small inputs of each target
# that once reached code that its seeds do not.
set -euo pipefail
cd "$(dirname "$0")/.."

git ls-files --cached --others --exclude-standard '*_test.go' | xargs grep -HoE '^func Fuzz[A-Za-z0-9]+' | sort -u |
	while IFS=: read -r file target; do
		printf '%s %s\n' "./$(dirname "$file")" "${target#func }"
		go test -run '^$' -fuzz "^${target#func }\$" -fuzztime "${1:-20s}" "./$(dirname "$file")" </dev/null | grep -vE '^(fuzz: elapsed|PASS|ok)' || [[ ${PIPESTATUS[0]} -eq 0 ]]
	done
