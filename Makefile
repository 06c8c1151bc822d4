# tokenfate: build, test, demo. `make help` lists the targets.
#
# One static library per room (config, lab, gpu, db, server), linked into two
# programs: tokenfate (server and command line) and tokenfate-trainer. Unit tests
# are one program per file in tests/unit and tests/ops, named ROOM_what.c, linked
# with what that room may use.

MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:

SAN ?=
BUILD ?= build$(if $(SAN),-$(SAN))
CC = gcc
OPT ?= $(if $(SAN),-O1 -g -fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=all,-O2 -g)
WARN = -Wall -Wextra -Werror -Wmissing-prototypes -Wvla -Wshadow -Wstrict-prototypes
BUILD_ID := $(shell git describe --always --dirty 2>/dev/null || echo unknown)
CFLAGS = -std=c17 -D_GNU_SOURCE -I. $(WARN) $(OPT) -MMD -MP -pthread
LDFLAGS = -pthread $(if $(SAN),-fsanitize=$(SAN))

# Library each room brings to the link line, after what it may use.
LIBS_config = -ljansson -lsodium
LIBS_lab = -lpcre2-8 -lm
LIBS_gpu = -ldnnl -fopenmp -ldl -lm
LIBS_db = -lsqlite3
LIBS_server = -lmicrohttpd -luuid -lcurl
USES_config = config
USES_lab = lab config
USES_gpu = gpu lab config
USES_db = db config
USES_server = server db lab config
CFLAGS_gpu = -fopenmp

ROOMS = config lab gpu db server
MAINS = server/main.c gpu/trainer.c
sources = $(filter-out $(MAINS),$(wildcard $(1)/*.c $(if $(filter gpu,$(1)),gpu/cpu/*.c)))
objects = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
archives = $(foreach r,$(USES_$(1)),$(BUILD)/lib$(r).a)
libraries = $(foreach r,$(USES_$(1)),$(LIBS_$(r)))

define room
$(BUILD)/lib$(1).a: $(call objects,$(call sources,$(1)))
	@rm -f $$@
	ar rcs $$@ $$^
$(BUILD)/obj/$(1)/%.o: $(1)/%.c
	@mkdir -p $$(@D)
	$(CC) $(CFLAGS) $(CFLAGS_$(1)) $$(DEFINES) -c -o $$@ $$<
endef
$(foreach r,$(ROOMS),$(eval $(call room,$(r))))

$(BUILD)/tokenfate: $(BUILD)/obj/server/main.o $(call archives,server)
	$(CC) $(LDFLAGS) -o $@ $^ $(call libraries,server)
$(BUILD)/tokenfate-trainer: $(BUILD)/obj/gpu/trainer.o $(call archives,gpu)
	$(CC) $(LDFLAGS) -o $@ $^ $(call libraries,gpu)

# One test program per file: tests/unit/lab_bpe.c -> $(BUILD)/tests/lab_bpe
define test_room
$(BUILD)/tests/$(1)_%: tests/unit/$(1)_%.c $(call archives,$(1))
	@mkdir -p $$(@D)
	$(CC) $(CFLAGS) $(CFLAGS_$(1)) $(LDFLAGS) -o $$@ $$< $(call archives,$(1)) $(call libraries,$(1)) -lcmocka
endef
$(foreach r,$(ROOMS),$(eval $(call test_room,$(r))))

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
