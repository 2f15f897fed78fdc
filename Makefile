# The commands of this project. `make` alone lists them.

TOOLS := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/reprise/bin
COVERAGE := coverage.out

# Those whose tests take longest, begun first so that none of them is left alone at the end.
SLOW_PACKAGES := ./e2e/... ./storage/s3 ./graphsync

# Node's packages of the end-to-end tests.
NODE_MODULES := $(if $(wildcard e2e/package.json),e2e/node_modules/.package-lock.json)

.PHONY: help
help: ## list these commands
	@sed -nE 's/^([a-z0-9]+):.*## (.*)/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r name text; do printf 'make %-7s %s\n' "$$name" "$$text"; done

.PHONY: run
run: ## install what is missing, build, and run a server for development; NEO4J=1 with a graph
	@scripts/setup.sh run
	@$(MAKE) --no-print-directory build
ifdef NEO4J
	@scripts/setup.sh neo4j
	@go build -o build/neo4j ./internal/neo4jserver/program
	@exec build/neo4j -dir .reprise/neo4j -- bin/reprise dev
else
	@exec bin/reprise dev
endif

.PHONY: neo4j
neo4j: ## run a Neo4j server on loopback, for development
	@scripts/setup.sh neo4j
	@go build -o build/neo4j ./internal/neo4jserver/program
	@exec build/neo4j -dir .reprise/neo4j

.PHONY: demo
demo: ## upload real speech over a line that breaks, and watch; starts a server if none runs
	@$(MAKE) --no-print-directory build
	@exec scripts/demo.sh

.PHONY: whisper
whisper: ## install Whisper (tiny.en), to have recordings in English transcribed on this machine
	@scripts/setup.sh whisper

.PHONY: test
test: $(NODE_MODULES) ## every test, with the race detector; prints the coverage
	@scripts/setup.sh test
	go run ./internal/testenv -- go test -race -shuffle=on -timeout 20m -coverpkg=./... -coverprofile=$(COVERAGE) $(SLOW_PACKAGES) ./...
	@go tool cover -func=$(COVERAGE) | awk 'END { print "coverage of all packages together:", $$NF }'

.PHONY: soak
soak: $(NODE_MODULES) ## the tests with many more rounds; takes hours
	@scripts/setup.sh test
	REPRISE_SOAK=1 go run ./internal/testenv -- go test -race -shuffle=on -count=1 -timeout 6h ./...

.PHONY: fuzz
fuzz: ## fuzz every parser of outside input, 20 seconds each; FUZZTIME=5m for longer
	@scripts/fuzz.sh $(FUZZTIME)

.PHONY: vuln
vuln: ## look for known vulnerabilities in what the program calls
	@scripts/setup.sh vuln
	@scripts/vuln.sh

.PHONY: sbom
sbom: ## list what the program is made of, as CycloneDX, in build/
	@scripts/setup.sh sbom
	@mkdir -p build
	@$(TOOLS)/cyclonedx-gomod app -json -licenses -std -output build/reprise.cdx.json -main cmd/reprise .
	@echo "build/reprise.cdx.json"

.PHONY: lint
lint: ## check format, vet and staticcheck
	@scripts/setup.sh lint
	@unformatted=$$(gofmt -l $$(git ls-files --cached --others --exclude-standard '*.go')) || exit 1; \
		if [ -n "$$unformatted" ]; then echo "not formatted (run gofmt -w):"; echo "$$unformatted"; exit 1; fi
	go vet ./...
	$(TOOLS)/staticcheck ./...

.PHONY: bench
bench: ## measure against stock tusd and bare ffmpeg
	@scripts/setup.sh run
	@scripts/setup.sh neo4j
	go run ./internal/testenv -durable -- go test -run '^$$' -bench . -benchtime 1x -timeout 2h ./bench ./processing/ffmpeg

.PHONY: build
build: ## build bin/reprise
	@mkdir -p bin
	go build -trimpath -o bin/reprise ./cmd/reprise

.PHONY: clean
clean: ## remove what the other commands made here, but for the data in .reprise
	rm -rf bin build $(COVERAGE) e2e/node_modules

# npm comes with the setup, so that is done first.
e2e/node_modules/.package-lock.json: e2e/package-lock.json
	@scripts/setup.sh test
	cd e2e && npm ci --no-audit --no-fund --loglevel=error
	@touch $@
