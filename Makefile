# tokenfate: build, test, demo. `make help` lists the targets.
#
# One static library per room (config, lab, gpu, db, server), linked into two
# programs: tokenfate (server and command line) and tokenfate-trainer. Unit tests
# are one program per file, tests/unit/ROOM_what.c, linked with what that room may
# use. Everything made lies below $(BUILD); SAN=address,undefined and SAN=thread
# build beside it in a folder of their own. Recipes say what they make in a line a
# room or a program; V=1 shows their commands.

MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:
ifndef V
.SILENT:
endif
say = @echo "  $(or $(1),$@)"
.PHONY: help deps deps-test all demo demo-stop serve test test-unit test-api test-browser test-crash \
	test-one test-san test-deep test-gpu soak bench bench-seeds bench-packing bench-forecast bench-server bench-gpu fuzz lint fmt screenshots install deb docker clean

VERSION = 0.1.0
comma := ,
SAN ?=
BUILD ?= build$(if $(SAN),-$(subst $(comma),-,$(SAN)))
PREFIX ?= /usr/local
# Folders with texts: the checkout's own, and one beside the checkout where there is one.
export TOKENFATE_CORPUS_PATH ?= corpora$(if $(wildcard ../shared/corpora),:../shared/corpora)
CC = gcc
OPT ?= $(if $(SAN),-O1 -g -fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=all,-O2 -g)
WARN = -Wall -Wextra -Werror -Wmissing-prototypes -Wvla -Wshadow -Wstrict-prototypes
CFLAGS = -std=c17 -D_GNU_SOURCE -I. $(WARN) $(OPT) -MMD -MP -pthread
LDFLAGS = -pthread $(if $(SAN),-fsanitize=$(SAN))

# What a room brings to the link line, after the rooms it may use (DESIGN section 1).
LIBS_config = -ljansson -lsodium -lm
LIBS_lab = -lpcre2-8 -lm
LIBS_gpu = -ldnnl -fopenmp -ldl -lm
LIBS_db = -lsqlite3 -lutf8proc
LIBS_server = -lmicrohttpd -luuid -lcurl
USES_config = config
USES_lab = lab config
USES_gpu = gpu lab config
USES_db = db config
USES_server = server db lab config
# The compute loops are worth -O3; reductions keep their written order, so no -ffast-math.
CFLAGS_gpu = -fopenmp $(if $(SAN),,-O3 -ffp-contract=fast -fno-math-errno -fno-trapping-math)

# The CUDA backend is built where nvcc of CUDA 12 or newer is, for these architectures and the newer
# ones that it knows, and as PTX of the newest for the ones to come. NVCC= builds without it.
ifeq ($(origin NVCC),undefined)
NVCC := $(firstword $(shell command -v nvcc 2>/dev/null) $(wildcard /usr/local/cuda/bin/nvcc))
ifneq ($(filter 1 2 3 4 5 6 7 8 9 10 11,$(if $(NVCC),$(shell $(NVCC) --version | sed -n 's/.*release \([0-9]*\).*/\1/p'))),)
$(if $(filter 0,$(MAKELEVEL)),$(info $(NVCC) is older than CUDA 12: built without CUDA))
NVCC :=
endif
endif
ifndef CUDA_ARCHS
CUDA_ARCHS := 80 86 89 90 \
  $(if $(NVCC),$(filter 100 120,$(patsubst compute_%,%,$(shell $(NVCC) --list-gpu-arch 2>/dev/null))))
endif
CUDA_LIBRARY = $(if $(SAN),,$(if $(NVCC),$(BUILD)/libtokenfate-cuda.so))
CUDA_OBJECTS = $(patsubst %,$(BUILD)/obj/%.o,$(basename $(wildcard gpu/cuda/*.cu)) gpu/cuda/library gpu/cuda/err)
NVCC_NUMBERS = -std=c++17 -O3
NVCCFLAGS = $(NVCC_NUMBERS) -I. $(foreach a,$(CUDA_ARCHS),-gencode=arch=compute_$(a),code=sm_$(a)) \
  -gencode=arch=compute_$(lastword $(CUDA_ARCHS)),code=compute_$(lastword $(CUDA_ARCHS)) \
  -Xcompiler=-fPIC,-fvisibility=hidden,-Wall,-Wextra,-Werror -Xptxas=-v -lineinfo

# The cpu backend's files of loops are compiled once for each instruction set.
CPU_LOOPS = $(addprefix gpu/cpu/cpu_,attention.c elementwise.c fused.c gemm.c layernorm.c lm_head.c tracked.c update.c)
CPU_ISAS = plain $(if $(filter x86_64,$(shell uname -m)),avx2 avx512 avx512_bf16)
CPU_FLAGS_avx2 = -march=x86-64-v3
CPU_FLAGS_avx512 = -march=x86-64-v4 -mprefer-vector-width=512
CPU_FLAGS_avx512_bf16 = $(CPU_FLAGS_avx512) -mavx512bf16
CPU_FLAGS_amx = $(CPU_FLAGS_avx512_bf16) -mamx-tile -mamx-bf16
CPU_FLAGS_amx_twin = $(CPU_FLAGS_avx512_bf16) -DCPU_AMX_TWIN
CPU_OBJECTS = $(foreach i,$(CPU_ISAS),$(patsubst %.c,$(BUILD)/obj/%.$(i).o,$(CPU_LOOPS))) \
  $(if $(filter avx512_bf16,$(CPU_ISAS)),$(BUILD)/obj/gpu/cpu/cpu_fused.amx.o)

ROOMS = config lab gpu db server
MAINS = server/cli/main.c gpu/trainer.c
sources = $(filter-out $(MAINS) $(CPU_LOOPS) gpu/cuda/%,$(wildcard $(1)/*.c $(1)/*/*.c))
objects = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
archives = $(foreach r,$(USES_$(1)),$(BUILD)/lib$(r).a)
libraries = $(foreach r,$(USES_$(1)),$(LIBS_$(r)))

PROGRAMS = $(BUILD)/tokenfate $(BUILD)/tokenfate-trainer $(CUDA_LIBRARY)
SHARE = $(BUILD)/share/.complete $(patsubst %,$(BUILD)/share/tokenizers/%.bpe,gpt2 cl100k_base bytes)
UNIT_TESTS = $(addprefix $(BUILD)/tests/,$(basename $(notdir $(wildcard tests/unit/*.c tests/unit/*.cu))))
TEST_TOOLS = $(patsubst tests/lib/%.c,$(BUILD)/tests/%,$(wildcard tests/lib/*_cli.c tests/lib/fake_trainer.c))

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' Makefile
	@echo "  variables: SAN=address,undefined|thread  BUILD=folder  PREFIX=/usr/local  JOBS=n  CUDA_ARCHS='80 90'  NVCC=  V=1"

deps: ## install what building and the demo need (Debian 12 packages, npm packages)
	@config/deps.sh build

deps-test: ## the same, and what the tests need (Chromium, PyTorch, clang-format)
	@config/deps.sh build test

# The recursive make sees packages that `deps` has only just installed.
all: deps ## build everything
	@$(MAKE) --no-print-directory -j$(JOBS) programs
JOBS ?= $(shell nproc)

.PHONY: programs tests
programs: $(PROGRAMS) $(SHARE)
tests: programs $(UNIT_TESTS) $(TEST_TOOLS) $(CARDS) $(if $(SAN),,gpu-kit)

demo: all ## set up, build, start the service, run the Gulliver experiment, print the table; EPOCHS=n
	@node config/demo.mjs start $(BUILD)

# Without Node no demo has run.
demo-stop: ## stop the service that `make demo` left running
	@if command -v node >/dev/null; then node config/demo.mjs stop $(BUILD); else echo "No demo service is running."; fi

serve: all ## run the service in the foreground with ./data
	@node config/demo.mjs free $(BUILD)
	$(BUILD)/tokenfate serve

test: deps-test ## set up, build, run every suite: unit, api, browser, crash, gpu (N passed, N failed)
	@$(MAKE) --no-print-directory -j$(JOBS) tests
	@JOBS=$(JOBS) node tests/run.mjs $(BUILD) unit api browser crash gpu

test-unit test-api test-browser test-crash: test-%: deps-test ## one suite of tests: unit, api, browser, crash
	@$(MAKE) --no-print-directory -j$(JOBS) tests
	@JOBS=$(JOBS) node tests/run.mjs $(BUILD) $*

test-one: deps-test ## one program or file, named as in a failure: T=unit/gpu_ops
	@$(MAKE) --no-print-directory -j$(JOBS) $(if $(filter san/%,$(T)),SAN=address$(comma)undefined) tests
	@node tests/run.mjs $(BUILD) one $(T)

test-gpu: deps ## the CUDA backend on a real GPU; says "no device" without one
	@$(MAKE) --no-print-directory -j$(JOBS) programs gpu-kit
	@node tests/run.mjs $(BUILD) gpu

test-san: deps-test ## unit programs and API files under AddressSanitizer and UBSan
	@$(MAKE) --no-print-directory -j$(JOBS) $(SHARE)
	@$(MAKE) --no-print-directory -j$(JOBS) SAN=address,undefined tests
	@JOBS=$(JOBS) node tests/run.mjs $(BUILD) san

test-deep: deps-test ## every thread order of the CUDA layer, valgrind, sixty kills (half an hour)
	@$(MAKE) --no-print-directory -j$(JOBS) tests
	@JOBS=$(JOBS) node tests/run.mjs $(BUILD) deep

soak: all ## 10,000 kills of server and trainer under load (hours)
	KILLS=10000 node --test tests/crash/

bench: deps-test ## speed, each figure beside a named peer in the same run
	@$(MAKE) --no-print-directory -j$(JOBS) tests $(BENCHES)
	@tests/bench/run.sh $(BUILD)

bench-forecast: deps-test ## are the times that the queue tells true? simulated with recorded step times (a minute)
	@$(MAKE) --no-print-directory -j$(JOBS) $(BUILD)/tests/server_forecast
	@FORECAST_WORLDS=5000 $(BUILD)/tests/server_forecast

bench-seeds: deps-test ## gulliver with five seeds in fp32 and in bf16: do they measure the same? (ten minutes)
	@$(MAKE) --no-print-directory -j$(JOBS) programs
	@TOKENFATE_BUILD=$(BUILD) node tests/bench/seeds.mjs $(BUILD)/bench-seeds.json

bench-packing: all ## a job on each core at once, against jobs with all cores one after the other
	@TOKENFATE_BUILD=$(BUILD) node tests/bench/packing.mjs $(BUILD)/bench-packing.json

bench-server: deps-test ## short requests beside deletions, readers and large texts; PEERS= builds to measure too
	@$(MAKE) --no-print-directory -j$(JOBS) programs $(TEST_TOOLS)
	@TOKENFATE_BUILD=$(BUILD) node tests/bench/server.mjs $(BUILD)/bench-server.json $(PEERS) $(BUILD)
	@TOKENFATE_BUILD=$(BUILD) node tests/bench/server_readers.mjs $(BUILD)/bench-server-readers.json
	@TOKENFATE_BUILD=$(BUILD) node tests/bench/server_texts.mjs $(BUILD)/bench-server-texts.json

BENCHES = $(patsubst tests/bench/%.c,$(BUILD)/tests/%,$(wildcard tests/bench/*.c))

bench-gpu: deps ## speed on a GPU beside PyTorch; says "no device" without one
	@$(MAKE) --no-print-directory -j$(JOBS) programs gpu-kit
	@python3 $(KIT)/bench.py --out $(BUILD)/gpu-bench

fuzz: deps-test ## libFuzzer on tokenizer, spec and protocol: FUZZ_SECONDS=60 each
	@$(MAKE) --no-print-directory -j$(JOBS) $(FUZZERS) $(SHARE)
	@for f in $(FUZZERS); do mkdir -p $(BUILD)/fuzz-corpus/$${f##*/}; \
	  TOKENFATE_SHARE=$(BUILD)/share $$f -max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=4096 \
	    -artifact_prefix=$(BUILD)/fuzz-corpus/ $(BUILD)/fuzz-corpus/$${f##*/} || exit 1; done
FUZZ_SECONDS ?= 60
FUZZERS = $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(wildcard tests/fuzz/*.c))

lint: deps-test ## format, rooms, circles, white space, words
	@$(MAKE) --no-print-directory -s -j$(JOBS) programs
	@tests/lint.sh $(BUILD)

fmt: ## format all C files
	@command -v clang-format >/dev/null || { echo "fmt: run  sudo apt-get install -y clang-format" >&2; exit 1; }
	clang-format -i $$(git ls-files '*.c' '*.h' '*.cc' '*.cu' '*.cuh')

screenshots: deps-test ## retake the pictures of the README
	@$(MAKE) --no-print-directory -j$(JOBS) tests
	TOKENFATE_SCREENSHOTS=1 TOKENFATE_BUILD=$(BUILD) node --test tests/browser/

# DESTDIR and PREFIX may hold blanks: recipes take them from the environment.
install: export DESTDIR := $(DESTDIR)
install: export PREFIX := $(PREFIX)
install: all ## install below PREFIX
	@to="$$DESTDIR$$PREFIX"; share="$$to/share"; install -d "$$to/bin" "$$share/tokenfate" "$$to/lib/systemd/system" && \
	  install -m 755 $(PROGRAMS) "$$to/bin" && cp -r $(BUILD)/share/. "$$share/tokenfate" && \
	  install -D -m 644 config/tokenfate.1 "$$share/man/man1/tokenfate.1" && \
	  install -D -m 644 config/tokenfate.bash "$$share/bash-completion/completions/tokenfate" && \
	  install -D -m 644 config/sysusers.conf "$$to/lib/sysusers.d/tokenfate.conf" && \
	  install -D -m 644 config/tmpfiles.conf "$$to/lib/tmpfiles.d/tokenfate.conf" && \
	  sed "s|/usr/local|$$(printf %s "$$PREFIX" | sed 's/[&|\\]/\\&/g')|" config/tokenfate.service \
	    > "$$to/lib/systemd/system/tokenfate.service" && echo "  $$to/bin/tokenfate"

deb: all ## build a Debian package in $(BUILD), for machines like this one
	@VERSION=$(VERSION) BUILD=$(BUILD) MAKE="$(MAKE)" config/deb.sh

docker: ## build the container images (docker, else buildah)
	@config/docker.sh

clean: ## remove everything that was built
	rm -rf build build-*

# ---- rooms ----

define room
$(BUILD)/lib$(1).a: $(call objects,$(call sources,$(1))) $(if $(filter gpu,$(1)),$(CPU_OBJECTS))
	@rm -f $$@
	ar qcs $$@ $$^
	$$(call say,$(1): $$(words $$^) files)
$(BUILD)/obj/$(1)/%.o: $(1)/%.c
	@mkdir -p $$(@D)
	$(CC) $(CFLAGS) $(CFLAGS_$(1)) $$(DEFINES) -c -o $$@ $$<
$(BUILD)/tests/$(1)_%: tests/unit/$(1)_%.c $(call archives,$(1))
	@mkdir -p $$(@D)
	$(CC) $(CFLAGS) $(CFLAGS_$(1)) $(LDFLAGS) -o $$@ $$(filter %.c %.o,$$^) $(call archives,$(1)) \
	  $(call libraries,$(1)) -lcmocka
	$$(say)
endef
$(foreach r,$(ROOMS),$(eval $(call room,$(r))))

define loops
$(BUILD)/obj/gpu/cpu/%.$(1).o: gpu/cpu/%.c
	@mkdir -p $$(@D)
	$(CC) $(CFLAGS) $(CFLAGS_gpu) $(CPU_FLAGS_$(1)) -DCPU_ISA=$(1) -c -o $$@ $$<
endef
$(foreach i,$(CPU_ISAS) amx amx_twin,$(eval $(call loops,$(i))))

# AMX's products on machines without it: the twin of its instructions.
$(BUILD)/tests/gpu_amx: $(if $(filter avx512_bf16,$(CPU_ISAS)),$(BUILD)/obj/gpu/cpu/cpu_fused.amx_twin.o)

# The build's name is a hash of the sources that decide an experiment's numbers, and of the
# flags they are compiled with (`:=`: not those of the target for which it is made): a job
# resumes only on the build that started it.
ENGINE_FLAGS := $(CFLAGS) $(CFLAGS_gpu) $(foreach i,$(sort $(CPU_ISAS)),$(CPU_FLAGS_$(i))) $(NVCC_NUMBERS)
$(BUILD)/build-id: FORCE
	@mkdir -p $(@D)
	@id=$(VERSION)+$$({ cat $$(LC_ALL=C ls config/*.[ch] lab/*.[ch] gpu/*.[ch] gpu/*/*.[ch] gpu/cuda/*.cu); \
	  echo '$(ENGINE_FLAGS)'; } | sha256sum | cut -c1-12); \
	  [ "$$(cat $@ 2>/dev/null)" = "$$id" ] || echo "$$id" > $@
FORCE:
KNOW_BUILD = $(call objects,server/cli/main.c server/api/version.c gpu/trainer.c gpu/cuda/library.c)
$(KNOW_BUILD): $(BUILD)/build-id
$(KNOW_BUILD): DEFINES += -DTOKENFATE_BUILD='"$(shell cat $(BUILD)/build-id)"'
$(BUILD)/obj/db/migrate.o: $(wildcard db/schema/*.sql)

$(BUILD)/tokenfate: $(BUILD)/obj/server/cli/main.o $(call archives,server)
	$(CC) $(LDFLAGS) -o $@ $^ $(call libraries,server)
	$(say)
$(BUILD)/tokenfate-trainer: $(BUILD)/obj/gpu/trainer.o $(call archives,gpu)
	$(CC) $(LDFLAGS) -o $@ $^ $(call libraries,gpu)
	$(say)

# ---- the CUDA backend ----

# ptxas tells what each kernel takes; one that spills registers is refused.
$(BUILD)/obj/gpu/cuda/%.o: gpu/cuda/%.cu
	@mkdir -p $(@D)
	$(NVCC) $(NVCCFLAGS) -MMD -MP -MF $(@:.o=.d) -c -o $@ $< >$(@:.o=.ptxas) 2>&1 || { cat $(@:.o=.ptxas); exit 1; }
	@! grep -E 'warning|[1-9][0-9]* bytes (stack frame|spill)' $(@:.o=.ptxas) || { rm -f $@; exit 1; }
	$(call say,$<)
$(BUILD)/obj/gpu/cuda/library.o: CFLAGS += -fPIC -fvisibility=hidden
$(BUILD)/obj/gpu/cuda/err.o: config/err.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -fPIC -fvisibility=hidden -c -o $@ $<
$(BUILD)/libtokenfate-cuda.so: $(CUDA_OBJECTS)
	$(NVCC) -shared -cudart static -o $@ $^ -lcublasLt -Xlinker=--exclude-libs,ALL,-z,defs
	$(say)

# ---- tests, benchmarks, fuzzers ----

include tests/lib/cuda_host.mk
include tests/cards/cards.mk
include tests/gpu/kit.mk

$(BUILD)/tests/%: tests/lib/%.c $(call archives,lab)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $< $(call archives,lab) $(call libraries,lab)
	$(say)
$(BUILD)/tests/%_bench: tests/bench/%_bench.c $(call archives,gpu)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(CFLAGS_gpu) $(LDFLAGS) -o $@ $< $(call archives,gpu) $(call libraries,gpu)
	$(say)
$(BUILD)/fuzz/%: tests/fuzz/%.c $(call sources,lab) $(call sources,config)
	@mkdir -p $(@D)
	clang -std=c17 -D_GNU_SOURCE -I. -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined \
	  -o $@ $^ $(call libraries,lab)
	$(say)

# ---- share: everything the programs read that is not code ----

$(BUILD)/share/tokenizers/%.bpe: lab/make_ranks.mjs node_modules/.package-lock.json
	@mkdir -p $(@D)
	node $< $* $@
	$(say)

UPLOT = node_modules/uplot/dist
WEB_FILES = $(shell find web config/presets -type f) server/openapi.json
$(BUILD)/share/.complete: $(WEB_FILES) node_modules/.package-lock.json
	@mkdir -p $(@D)
	@rm -rf $(@D)/web $(@D)/presets
	cp -r web config/presets server/openapi.json $(@D)
	@mkdir -p $(@D)/web/vendor
	cp $(UPLOT)/uPlot.esm.js $(UPLOT)/uPlot.min.css $(@D)/web/vendor
	@touch $@
	$(say)

node_modules/.package-lock.json: package.json package-lock.json
	npm ci --no-fund --no-audit
	@touch $@

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
