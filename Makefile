# Radstream. `make help` lists what can be done; nothing needs root or writes outside
# this folder, save Go's own caches.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
BIN := bin/radstream
TOOLS := .deps/bin
SHIPPED := services/app/tiny
PARSERS := ^ingest|^schemas/event|^services/query|^trainer/internal
TORCH := ./trainer/... ./services/train/... ./services/traincli/... ./cmd/radtrain
FILMS := $(or $(RADSTREAM_DATA),../shared/data)
empty :=
space := $(empty) $(empty)
comma := ,

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: build ## make phantom studies, publish them, print answers, leave nothing running
	$(BIN) demo

.PHONY: run
run: build ## the same, and stay up for your own queries
	$(BIN) demo --stay

.PHONY: test
test: setup ## run every test
	go test -timeout 14m ./...
	deploy/fuzz.sh -t 2 '$(PARSERS)'

.PHONY: build
build: setup ## build bin/radstream
	@mkdir -p bin
	go build -trimpath -ldflags '-X main.version=$(VERSION)' -o $(BIN) ./cmd/radstream

.PHONY: setup
setup: ## fetch what is missing into .deps
	@deploy/setup.sh onnxruntime ocr

.PHONY: setup-train
setup-train: ## fetch libtorch into .deps: 550 MB, 1 GB unpacked
	@deploy/setup.sh libtorch

.PHONY: radtrain
radtrain: setup setup-train ## build bin/radtrain with libtorch; the first time takes minutes
	@mkdir -p bin
	eval "$$(deploy/torch/env.sh)" && go build -tags torch -ldflags '-X main.version=$(VERSION)' -o bin/radtrain ./cmd/radtrain

.PHONY: test-train
test-train: setup setup-train ## test what needs libtorch
	deploy/setup.sh backbones
	eval "$$(deploy/torch/env.sh)" && go test -tags torch -timeout 30m $(TORCH)

.PHONY: model
model: radtrain ## train what ships once more, in under an hour on two cores, and hold it against what ships
	bin/radtrain phantoms work/single --studies 8100 --seed 102 --side 384 --single-finding --variants 9 --lateral-share 0.9 --prior-share 0 --validation 0.06
	bin/radtrain phantoms work/mixed --studies 2400 --seed 101 --side 384
	bin/radtrain fit --preset tiny --data work/single/manifest.json --data work/mixed/manifest.json --out work/run
	bin/radtrain eval retrieval --model work/run/model --against $(SHIPPED)

.PHONY: ship-model
ship-model: ## let what make model trained be the model that ships
	install -d $(SHIPPED)
	install -m 644 work/run/model/* $(SHIPPED)

.PHONY: bench
bench: build ## measure decoding, preparing, encoding and the index beside their peers: most of an hour, 5 GB the first time
	$(BIN) bench decode
	$(BIN) bench prepare
	$(BIN) bench embed
	$(BIN) bench search --edge --million

.PHONY: proof
proof: bench ## fuzz each parser for 10 CPU-minutes, kill the index 200 times, measure ingest, encoding and index: hours
	deploy/fuzz.sh -t 600 '$(PARSERS)'
	RADSTREAM_KILLS=200 go test -count=1 -timeout 30m -run '^TestKill$$' ./indexer/flat
	go test -timeout 2h -run TestNothingAccumulates -v ./embedder -batches 100000
	go run ./cmd/radtrain eval views --data $(FILMS)
	go run ./cmd/radtrain eval quality --data $(FILMS)
	$(BIN) bench text --films $(subst $(space),$(comma),$(wildcard $(addprefix $(FILMS)/,nih14 rocov2cxr covidcxr rococxr vqarad hannover figure1 indiana)))

.PHONY: lint
lint: $(TOOLS)/staticcheck $(TOOLS)/buf ## check form: gofmt, vet, staticcheck, module files, schemas
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$unformatted" ]; then echo "gofmt these: $$unformatted" >&2; exit 1; fi
	go vet ./...
	$(TOOLS)/staticcheck ./...
	@if [ -d .deps/libtorch ]; then eval "$$(deploy/torch/env.sh)"; echo "$(TOOLS)/staticcheck -tags torch"; go vet -tags torch $(TORCH); $(TOOLS)/staticcheck -tags torch $(TORCH); \
	else echo "what has the tag torch WAS NOT CHECKED: it needs make setup-train" >&2; fi
	go mod tidy -diff
	cd schemas && ../$(TOOLS)/buf lint && ../$(TOOLS)/buf breaking --against testdata/released.binpb

.PHONY: vuln
vuln: $(TOOLS)/govulncheck ## look for known vulnerabilities; needs vuln.go.dev
	@if timeout 20 $(TOOLS)/govulncheck -version >/dev/null 2>&1 && timeout 20 $(TOOLS)/govulncheck -mode=binary $(TOOLS)/govulncheck >/dev/null 2>&1; then \
		$(TOOLS)/govulncheck ./...; \
	else echo "govulncheck DID NOT RUN: the vulnerability database cannot be reached from here" >&2; fi

.PHONY: generate
generate: $(TOOLS)/buf $(TOOLS)/protoc-gen-go ## write the generated Go of the schemas again
	cd schemas && PATH="$(CURDIR)/$(TOOLS):$$PATH" buf generate

.PHONY: clean
clean: ## remove what was built and what the demo wrote
	rm -rf bin demo

# Tools are built from pinned versions into .deps/bin, apart from go.mod.
$(TOOLS)/staticcheck: PKG = honnef.co/go/tools/cmd/staticcheck@v0.8.2
$(TOOLS)/buf: PKG = github.com/bufbuild/buf/cmd/buf@v1.75.0
$(TOOLS)/govulncheck: PKG = golang.org/x/vuln/cmd/govulncheck@v1.9.0
$(TOOLS)/protoc-gen-go: PKG = google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12
$(TOOLS)/%:
	@mkdir -p $(TOOLS)
	GOBIN="$(CURDIR)/$(TOOLS)" go install $(PKG)
