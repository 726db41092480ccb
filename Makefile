# Larder. `make demo` shows what it is; `make test` says whether it works.

GO ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
BIN := bin/larder

# What runs concurrently is tested under the race detector.
RACE := ./realiser/... ./fusefs/... ./store/local/... ./store/cache/... ./cmd/...
TESTFLAGS ?= -timeout 10m
GOTESTSUM := $(GO) tool gotestsum --format pkgname-and-test-fails --hide-summary output

.PHONY: build demo test lint unit race single bench fuzz deps test-deps clean

build: deps
	$(GO) build -trimpath -ldflags '-X main.version=$(VERSION)' -o $(BIN) ./cmd/larder

deps:
	@packaging/install-deps.sh build

test-deps:
	@packaging/install-deps.sh test

demo: build
	@examples/demo/demo.sh $(BIN)

test: test-deps lint unit race single

lint:
	@echo "gofmt, vet, staticcheck"
	@out=$$(git ls-files '*.go' | xargs gofmt -l); test -z "$$out" || { echo "not gofmt'ed: $$out"; exit 1; }
	@$(GO) vet ./...
	@$(GO) tool staticcheck ./...

unit:
	$(GOTESTSUM) --jsonfile bin/unit.json -- $(TESTFLAGS) ./...
	@test/skips.sh bin/unit.json

race:
	$(GOTESTSUM) -- $(TESTFLAGS) -race -short $(RACE)

# Some races and deadlocks show only where nothing runs in parallel.
single:
	GOMAXPROCS=1 $(GOTESTSUM) -- $(TESTFLAGS) -short -count=1 ./realiser/... ./fusefs/...

bench: build test-deps
	$(GO) run ./test/bench -larder $(BIN) -out docs/benchmarks.md

FUZZTIME ?= 20s
fuzz:
	@test/fuzz.sh $(FUZZTIME)

clean:
	rm -rf bin
