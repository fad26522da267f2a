# SPDX-License-Identifier: Apache-2.0
SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS   += --no-print-directory

GO        ?= go
# A program built in a clone knows its commit. Elsewhere git is not asked.
BUILDVCS  ?= $(shell git status --porcelain >/dev/null 2>&1 && echo true || echo false)
FUZZTIME  ?= 30s
BENCHTIME ?= 1s
BENCHOUT  ?= bench-out
SOAK      ?= 1000

# C is needed for the race detector and nothing else.
export CGO_ENABLED := 0

# Tests that need privileges are skipped without them. Root has them, so that
# for root each test runs or fails.
ifeq ($(shell id -u),0)
export SPEADX_PRIVILEGED := 1
endif

# Packages one after the other: some tests send as fast as the machine can, and
# others measure time.
TEST := $(GO) run ./hack/testrun -p=1 -count=1

# The linters are a module of their own.
LINT := $(GO) tool -modfile=hack/lint/go.mod

.PHONY: help
help: ## list these targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/speadx; needs Go and nothing else
	$(GO) build -trimpath -buildvcs=$(BUILDVCS) -ldflags '-s -w' -o bin/speadx ./cmd/speadx

.PHONY: demo
demo: build ## send and receive on a veth pair for ten seconds, as root
	bin/speadx demo

.PHONY: test
test: ## run all tests, those that need privileges as root only
	$(TEST) ./... -- -p=1 -count=1 -tags=stepping ./heap ./pool

.PHONY: race
race: ## run all tests under the race detector
	hack/need gcc=gcc,libc6-dev
	CGO_ENABLED=1 $(TEST) -race ./...

# VMFLAGS are flags of hack/vm: go run ./hack/vm -h lists them.
.PHONY: test-vm
test-vm: ## run tests in virtual machines: kernels 6.1, 6.12 and the newest, six kinds of NIC
	hack/need dpkg-deb=dpkg apt-get=apt
	$(GO) run ./hack/vm $(VMFLAGS)

# Modules of their own, so that what their tests need is not what the library needs.
.PHONY: test-ops
test-ops: ## test the packages, the charts, and what is in deploy/; installs what it needs
	hack/need chromium=chromium,fonts-dejavu-core
	$(GO) run ./hack/testrun -C hack/dist -p=1 -count=1 ./... -- -C deploy/checks -p=1 -count=1 ./... \
		-- -C hack/charts -p=1 -count=1 ./... \
		-- -C hack/ops -tags=ops -p=1 -count=1 ./...

# A minute of real traffic fills the plots.
.PHONY: picture
picture: ## take the picture of the status page that is in docs/, as root
	hack/need chromium=chromium,fonts-dejavu-core
	rm -rf bin/pictures && mkdir -p bin/pictures
	SPEADX_PICTURES=$(CURDIR)/bin/pictures $(GO) test -C hack/ops -tags=ops -count=1 -run='^TestPageUnderTraffic$$' .
	cp bin/pictures/status-page.png docs/

.PHONY: recording
recording: build ## record make demo as docs/demo.svg, as root
	$(GO) run ./hack/cast -o docs/demo.svg -rows 26 -prompt 'make demo' bin/speadx demo

# ARCHS are the architectures to make packages for.
ARCHS ?= amd64,arm64
.PHONY: dist
dist: ## make tarballs, .deb and .rpm for amd64 and arm64, in dist/
	cd hack/dist && $(GO) run . -out ../../dist -arch $(ARCHS)

.PHONY: soak
soak: ## open and close receivers in full flow SOAK times, 1000 by default
	SPEADX_SOAK=$(SOAK) $(TEST) -timeout=2h -run='^TestOpenClose$$' .

.PHONY: fuzz
fuzz: ## fuzz each target for FUZZTIME, 30s by default
	grep -ro '^func Fuzz[A-Za-z0-9]*' --include='*_test.go' . | sort | while IFS=: read -r file func; do \
		echo "$${file%/*} $${func#func }"; \
		$(GO) test -run='^$$' -fuzz="^$${func#func }\$$" -fuzztime=$(FUZZTIME) "$${file%/*}"; \
	done

.PHONY: bench
bench: ## measure beside rivals, in minutes; the report is in BENCHOUT, bench-out by default
	hack/bench/run short $(BENCHOUT)

.PHONY: bench-full
bench-full: ## the same at length, as for the figures in the documents
	hack/bench/run full $(BENCHOUT)

# The results are committed: measure with hack/bench/run, and name the files MACHINE-BENCH.json.
.PHONY: bench-docs
bench-docs: ## draw the charts of docs/performance.md from the results in docs/bench
	cd hack/charts && $(GO) run . -o ../../docs/bench ../../docs/bench/*.json

.PHONY: microbench
microbench: ## run the benchmarks of single functions, BENCHTIME each
	$(GO) test -p=1 -run='^$$' -bench=. -benchmem -benchtime=$(BENCHTIME) ./...

# Other versions of clang make other code of the same source.
.PHONY: generate
generate: ## rebuild the eBPF objects from their source, with clang 14, and the tables in docs/
	hack/need clang-14=clang-14 llvm-strip-14=llvm-14
	BPF2GO_CC=clang-14 BPF2GO_STRIP=llvm-strip-14 $(GO) generate ./bpf ./internal/blast ./hack/vm/matrix ./internal/doctor ./internal/report

.PHONY: lint
lint: ## gofmt, go vet, staticcheck, errorlint, misspell, shellcheck and clang-format
	@unformatted=$$("$$($(GO) env GOROOT)/bin/gofmt" -l .); \
	[ -z "$$unformatted" ] || { echo "gofmt -w would change:" $$unformatted; exit 1; }
	$(GO) vet ./...
	$(GO) vet -tags=stepping ./heap ./pool
	$(GO) vet -tags=vmguest ./hack/vm/guest
	$(GO) vet -tags=manpages ./cmd/speadx
	$(GO) vet -C hack/dist ./...
	$(GO) vet -C deploy/checks ./...
	$(GO) vet -C hack/charts ./...
	$(GO) vet -C hack/ops -tags=ops ./...
	$(LINT) staticcheck ./...
	$(LINT) staticcheck -tags=vmguest ./hack/vm/guest
	$(LINT) staticcheck -tags=stepping ./heap ./pool
	$(LINT) go-errorlint ./...
	$(LINT) misspell -error $$(git ls-files '*.go' '*.md' '*.c' '*.h' '*.yaml' '*.yml' '*.html' '*.css' '*.js' | grep -v /uPlot)
	hack/need shellcheck=shellcheck clang-format-14=clang-format-14
	shellcheck .ci/run hack/api hack/need hack/bench/run
	clang-format-14 --dry-run --Werror bpf/*.c bpf/headers/*.h internal/blast/*.c

.PHONY: vulnerabilities
vulnerabilities: ## look up known faults of what is used, over the network
	$(LINT) govulncheck ./...

.PHONY: api
api: ## show how the public API differs from BASE: the last release, or else the commit before
	hack/api $(BASE)

.PHONY: arm64
arm64: ## build and vet for arm64
	GOARCH=arm64 $(GO) build ./...
	GOARCH=arm64 $(GO) vet ./...

.PHONY: clean
clean: ## remove what make made
	rm -rf bin bench-out dist
