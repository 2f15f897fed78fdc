#!/bin/sh
# Makes speech.flac and speech.txt again, from the Debian packages
# asterisk-core-sounds-en-g722 (sound) and asterisk-core-sounds-en (text).
# Needs ffmpeg with the g722 decoder and the flac encoder.
set -eu
cd "$(dirname "$0")"
sounds=/usr/share/asterisk/sounds/en_US_f_Allison
text=/usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz

# A dash is half a second of silence.
order="vm-newuser - vm-nobodyavail - queue-youarenext conf-onlyone -
check-number-dial-again - conf-placeintoconf conf-roll-callcomplete - vm-mailboxfull
vm-msgforwarded - speed-dial-empty dir-nomore - vm-tmpexists
feature-not-avail-line - conf-waitforleader privacy-unident - tt-somethingwrong"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
: >speech.txt
n=0
for name in $order; do
	n=$((n + 1))
	if [ "$name" = - ]; then
		ffmpeg -v error -f lavfi -i anullsrc=r=16000:cl=mono -t 0.5 -f s16le "$work/$(printf %02d $n)"
		continue
	fi
	ffmpeg -v error -f g722 -i "$sounds/$name.g722" -ar 16000 -ac 1 -f s16le "$work/$(printf %02d $n)"
	zcat "$text" | sed -n "s/^$name: *//p" | head -n 1 | tr -s ' ' >>speech.txt
done
cat "$work"/?? | ffmpeg -v error -y -f s16le -ar 16000 -ac 1 -i - \
	-map_metadata -1 -fflags +bitexact -flags:a +bitexact -compression_level 8 speech.flac
