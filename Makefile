# Every target that a person types says what it is for; `make help` lists them.

GO      ?= go
BIN     := bin/usance
DATA    ?= usance-data
ADDR    ?= 127.0.0.1:8080
DEMO    ?= usance-demo
FUZZ    ?= 5s
SOAK    ?= 10m
KILLS   ?= 200
FLEET   ?= 1000
FLEET_URL ?=
FORECAST_DATA ?= ../shared/data/forecast
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

# SQLite's engine is C made into Go. Watched for races it is several times slower,
# and what it holds is behind its own locks.
RACE    := -race -gcflags=modernc.org/sqlite/lib=-race=false

.DEFAULT_GOAL := help
.PHONY: help build run demo test test-short tools lint fmt bench bench-forecast bench-forecast-job fuzz soak kill mutants generate verify smoke ci clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*?## ' $(MAKEFILE_LIST) | awk -F ':.*?## ' '{printf "  %-18s %s\n", $$1, $$2}'

build: ## build bin/usance
	$(GO) build -ldflags "-s -w -X main.version=$(VERSION)" -o $(BIN) ./cmd/usance

run: build ## serve on $(ADDR) with the data in $(DATA)
	USANCE_DATA_DIR=$(DATA) $(BIN) serve --addr $(ADDR)

demo: build ## serve a year of made-up usage, kept in $(DEMO)
	$(BIN) demo --addr $(ADDR) --dir $(DEMO)

test: tools ## every test, as CI runs them (race detector on)
	$(GO) test $(RACE) -timeout 30m ./...

test-short: ## the quick tests
	$(GO) test -short ./...

tools: ## install what the tests need and is missing (as root, from Debian)
	@.ci/tools

lint: ## gofmt, go vet and golangci-lint
	@.ci/lint

fmt: ## format the code
	gofmt -w $$(git ls-files '*.go')

bench: build ## how fast events are counted, beside the database alone (some minutes)
	$(BIN) bench

bench-forecast: ## score the forecasts on the public series in $(FORECAST_DATA), against naive methods
	$(GO) run ./forecast/bench -data $(FORECAST_DATA)

bench-forecast-job: ## forecast and look through FLEET licences in a store while events come in; what 100,000 would take
	$(GO) test ./forecast/watch -run TestFleet -fleet $(FLEET) -fleet-url '$(FLEET_URL)' -v -timeout 2h

fuzz: ## each fuzz target for $(FUZZ)
	@.ci/fuzz $(FUZZ)

soak: ## the simulation on new seeds for $(SOAK), then two nodes that meet at every statement (some 20 minutes)
	$(GO) test ./sim -run TestSimulation -v -timeout 0 -budget $(SOAK) -first $$(date +%s)000 -progress
	$(GO) test ./sim -run TestInterleaved -v -timeout 0 -every -seed $$(date +%s)

kill: ## kill the server KILLS times under load: nothing is lost, nothing counted twice
	$(GO) test ./e2e -run 'TestKill$$' -v -timeout 30m -kills $(KILLS)

mutants: ## break the rules on purpose: the simulation must find each break
	@sim/mutants.sh

generate: ## write anew what is derived from code (OpenAPI, TypeScript, tables of the docs)
	$(GO) test ./api -run 'TestOpenAPI|TestTypeScript' -update
	$(GO) test ./cmd/usance -run TestEverySettingIsDocumented -update

verify: generate ## regenerate, and fail when that makes a difference
	@git diff --exit-code -- . || { echo "verify: commit what 'make generate' wrote"; exit 1; }
	@test -z "$$(git ls-files --others --exclude-standard)" || { git ls-files --others --exclude-standard; echo "verify: commit the new files"; exit 1; }

smoke: ## build, serve, and run the README's commands against it
	@.ci/smoke

ci: ## all that CI does
	@.ci/run

clean: ## remove what was built
	rm -rf bin dist
