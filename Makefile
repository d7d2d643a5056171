# Nova. `make` lists the targets; `make test` is everything that CI runs.
.DEFAULT_GOAL := help
GO ?= go
BIN := bin/nova

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1\t\2/' | column -t -s "$$(printf '\t')"

.PHONY: build
build: ## Build bin/nova
	$(GO) build -trimpath -o $(BIN) ./cmd/nova

.PHONY: run
run: build ## Build and run everything in one process, data under ./data
	$(BIN) serve

.PHONY: test
test: ## Everything that CI runs; brings what it needs on Debian and Ubuntu
	@./test/all.sh

.PHONY: test-fast
test-fast: ## The Go tests without servers, browser, Prometheus and long rounds; says what it left out
	@GO=$(GO) ./test/fast.sh

.PHONY: servers
servers: ## One PostgreSQL, Redis and Kafka for tests by hand, until Ctrl-D; variables in bin/servers.env
	@mkdir -p bin
	$(GO) run ./test/servers/cmd -env bin/servers.env

.PHONY: lint
lint: ## The linters of .golangci.yml
	@./test/lint.sh

.PHONY: fuzz
fuzz: ## Every fuzzer, those of frames for 20 s
	@ALL=1 ./test/fuzz.sh 20s

.PHONY: campaign
campaign: build ## Every fault twenty times on two nodes, twenty SIGTERM and SIGKILL on each of four deployments, a rolling restart of three nodes; takes two hours
	for d in sqlite postgres nodes services; do $(GO) run ./test/rounds -nova $(BIN) -deployment $$d -term 20 -kill 20 || exit 1; done
	$(GO) run ./test/rounds -nova $(BIN) -deployment rolling -term 21 -kill 0
	$(GO) run ./test/campaign -nova $(BIN) -cycles 20

.PHONY: literal
literal: build ## The audit's literal checks against a real Prometheus
	@./test/literal.sh

.PHONY: bench
bench: ## The committed benchmarks, three times each
	$(GO) test -run '^$$' -bench . -benchmem -count 3 ./internal/...

.PHONY: generate
generate: ## Write generated code and documents anew
	@./tools/generate.sh
	cd client && npm ci --no-audit --no-fund && npm run build
	$(GO) test ./internal/config ./internal/app -run 'Golden|DocumentIsCommitted' -update
