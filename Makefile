# Everything a change needs: `make check` before it is proposed.

.DEFAULT_GOAL := help

LINT := go tool -modfile=tools/go.mod golangci-lint

# A run on a server executes every test, whatever an earlier run cached.
TEST_FLAGS := -race -timeout 10m $(if $(CI),-count=1)

.PHONY: help
help: ## Show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: check
check: fmt-check vet lint test ## Everything a change must pass

.PHONY: fmt
fmt: ## Format the code
	gofmt -s -w .

.PHONY: fmt-check
fmt-check: ## Fail on code that is not formatted
	@unformatted=$$(gofmt -s -l .) && if test -n "$$unformatted"; then \
		echo "not formatted, run make fmt:"; echo "$$unformatted"; exit 1; fi

.PHONY: vet
vet: ## Find what the compiler does not
	go vet -tags interop,model,scale,screenshots ./...

.PHONY: lint
lint: ## Check style and layering (.golangci.yml)
	$(LINT) run

.PHONY: test
test: ## Run the tests, with a real redis-server and the race detector
	scripts/deps
	go test $(TEST_FLAGS) ./...

.PHONY: build
build: ## Build the static binary bin/freshet
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o bin/freshet ./cmd/freshet

.PHONY: screenshots
screenshots: ## Take the pictures of the dashboard in docs/images
	scripts/deps screenshots
	mkdir -p docs/images
	SCREENSHOTS=$(CURDIR)/docs/images go test -tags screenshots ./internal/web -run TestScreenshots -count=1

.PHONY: scale
scale: ## Load every page of the dashboard with a million entries
	scripts/deps
	go test -tags scale ./internal/web -run TestPagesWithAMillionEntries -count=1 -v

.PHONY: interop
interop: ## Run the guide's Node.js and Python clients against the SDK
	scripts/deps interop
	go test -tags interop -timeout 5m -count=1 ./interop

.PHONY: crash
crash: ## Kill a consumer fifty times under load and check its copy
	scripts/deps
	FRESHET_KILLS=50 FRESHET_RATE=2000 go test ./cmd/freshet -run TestCopyIsExactAfterCrashes -count=1 -v

.PHONY: faults
faults: ## Break what it stands on and account for every event; RUN='F1 F4', SEED=n, QUICK=1
	scripts/deps
	go build -o bin/faults ./internal/faults/run
	bin/faults $(if $(QUICK),-quick) $(if $(SEED),-seed $(SEED)) $(RUN)

.PHONY: faults-quick
faults-quick: ## The faults that every change runs, in short versions
	$(MAKE) faults QUICK=1

.PHONY: soak
soak: ## All kinds of faults at random for MINUTES=30, SEED=n
	scripts/deps
	go build -o bin/faults ./internal/faults/run
	bin/faults -soak $(or $(MINUTES),30)m $(if $(SEED),-seed $(SEED))

.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZTIME=10s
	scripts/deps
	scripts/fuzz $(or $(FUZZTIME),10s)

.PHONY: fuzz-nightly
fuzz-nightly: ## The same, for a minute each
	$(MAKE) fuzz FUZZTIME=60s

.PHONY: model
model: ## A model of a consumer group against the real one, 2,000 steps
	scripts/deps
	FRESHET_MODEL_STEPS=2000 go test -tags model ./internal/faults -run TestModel -count=1

.PHONY: model-nightly
model-nightly: ## The model of a consumer group, 50,000 steps instead of 2,000
	scripts/deps
	FRESHET_MODEL_STEPS=50000 go test -tags model ./internal/faults -run TestModel -count=1 -timeout 60m

.PHONY: nightly
nightly: model-nightly fuzz-nightly faults soak ## What takes too long for every change; go on after a failure with -k

.PHONY: bench
bench: ## Measure beside other clients, write bench/RESULTS.md and docs/performance.md; SECTIONS='drain latency' prints those alone
	scripts/deps
	cd bench && go run . $(or $(SECTIONS),-write -backlog 5000000)

.PHONY: bench-quick
bench-quick: ## Show in under a minute that the measurements work; the figures mean little
	scripts/deps
	cd bench && go run . -quick

.PHONY: benchstat
benchstat: ## Compare the Go benchmarks with those of another revision, BASE=ref
	scripts/deps
	scripts/benchstat $(or $(BASE),$(error say which revision: make benchstat BASE=ref))

.PHONY: clean
clean: ## Remove what was built
	rm -rf bin interop/node/node_modules
