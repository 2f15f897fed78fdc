#!/usr/bin/env bash
# The main thing in a minute: real speech goes to the server over a connection
# that breaks on purpose, resumes, is processed while you watch, and plays.
#
# It uses the server at $REPRISE_SERVER (http://127.0.0.1:8080), and if nothing
# answers there starts `reprise dev` for as long as it takes.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly server="${REPRISE_SERVER:-http://127.0.0.1:8080}"
readonly log=.reprise/demo.log
work=$(mktemp -d)
started=

clean_up() {
	rm -rf "$work"
	if [[ -n $started ]]; then
		kill -TERM "$started" 2>/dev/null || true
		wait "$started" 2>/dev/null || true
	fi
}
trap clean_up EXIT
trap 'exit 130' INT TERM

# bold and faint are for terminals only.
bold='' faint='' plain=''
if [[ -t 1 && -z ${NO_COLOR:-} ]]; then
	bold=$'\e[1m' faint=$'\e[2m' plain=$'\e[0m'
fi
step() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
fail() { printf 'demo: %s\n' "$*" >&2; exit 1; }

for program in curl ffmpeg; do
	command -v "$program" >/dev/null || fail "$program is missing; scripts/setup.sh run installs what the server needs"
done
[[ -x bin/reprise ]] || fail 'bin/reprise is missing; run make build'

answers() { curl -fsS --max-time 5 -o /dev/null "$server/openapi.json" 2>/dev/null; }

if ! answers; then
	if [[ $server != http://127.0.0.1:8080 ]]; then
		fail "no Reprise server answers at $server"
	fi
	step 'Starting a server'
	mkdir -p .reprise
	bin/reprise dev >"$log" 2>&1 &
	started=$!
	for ((i = 0; ; i++)); do
		answers && break
		if ! kill -0 "$started" 2>/dev/null || ((i == 120)); then
			tail -n 5 "$log" >&2
			fail "the server did not start; $log has all it said"
		fi
		sleep 0.5
	done
	echo "$server ${faint}(log: $log)${plain}"
fi

# The token as `reprise upload` finds it.
token=${REPRISE_TOKEN:-}
if [[ -z $token ]]; then
	token_file=${REPRISE_TOKEN_FILE:-.reprise/token}
	[[ -r $token_file ]] || fail "no token: $token_file can't be read; set REPRISE_TOKEN"
	token=$(<"$token_file")
	from="\$(cat $token_file)"
else
	from="\$REPRISE_TOKEN"
fi
export REPRISE_SERVER=$server

# As a phone's recorder that does not compress: a few megabytes. The file is new
# each time, so the upload is too.
ffmpeg -v error -i testdata/speech.flac -ar 48000 -c:a pcm_s16le "$work/speech.wav"

step 'Uploading a minute of speech; the connection is cut at 40%'
bin/reprise upload --wait --cut-at 40% --limit-rate 2MiB --title 'Telephone prompts' "$work/speech.wav" | tee "$work/result"

audio=$(awk '$1 == "aac" { print $2 }' "$work/result")
[[ -n $audio ]] || fail 'the recording has nothing to play'
# The token is not an argument: others on this machine see those.
get() { printf 'header = "Authorization: Bearer %s"\n' "$token" | curl -fsSL --config - "$@"; }
get -o "$work/speech.m4a" "$audio"
length=$(ffprobe -v error -show_entries format=duration -of csv=p=0 "$work/speech.m4a")

step 'It plays'
printf 'Fetched the AAC rendition: %d kB, %.1f s. Hear it yourself:\n\n' $(($(wc -c <"$work/speech.m4a") / 1000)) "$length"
printf '  curl -L -H "Authorization: Bearer %s" "%s" | ffplay -autoexit -\n' "$from" "$audio"
# ffplay would send the token along to wherever a redirect leads.
printf '  ffplay -autoexit -headers "Authorization: Bearer %s" "%s&redirect=false"\n' "$from" "$audio"

step 'What was said'
recording=${audio%/audio*}
# It is being written down while the recording plays already. A field of insights says
# "waiting" until a stage is done; there are none if nothing on this machine can listen.
for ((i = 0; i < 120; i++)); do
	insights=$(get "$recording" | sed -n 's/.*"insights":\({.*}}\).*/\1/p')
	[[ $insights == *'"waiting"'* ]] || break
	sleep 1
done
if get -o "$work/said" "$recording/transcript.txt" 2>/dev/null; then
	cat "$work/said"
	printf '%s(subtitles: %s/transcript.vtt, what it is about: %s/analysis, search: %s/v1/search?q=…)%s\n' \
		"$faint" "$recording" "$recording" "$server" "$plain"
else
	echo 'Nothing on this machine can listen: docs/speech-engines.md says how to install what can (make whisper).'
fi
if [[ -n $started ]]; then
	printf '\nThe server stops now and keeps the recording: %smake run%s starts it again.\n' "$bold" "$plain"
fi
