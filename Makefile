# Belfry. `make help` lists the targets. Objects and programs go to $(BUILD), sanitized ones to $(BUILD)/check.

BUILD   ?= build
ifeq ($(strip $(BUILD)),)
$(error BUILD is empty: name a directory for what is built)
endif
PREFIX  ?= /usr/local
DESTDIR ?=
CC      ?= gcc
VERSION := 0.1.0

PROGRAMS := belfry-api belfry-worker belfry-scheduler belfryctl

# V=1 shows whole commands.
QUIET := $(if $(V),,@)
say = $(if $(V),,@printf '  %-5s %s\n' $(1) $@)

# MODE=check builds the same sources with sanitizers; `make test` uses it.
MODE ?= release
OUT  := $(BUILD)$(if $(filter check,$(MODE)),/check)

WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wsign-conversion -Wstrict-prototypes -Wmissing-prototypes \
            -Wold-style-definition -Wpointer-arith -Wcast-qual -Wwrite-strings -Wvla -Wformat=2 -Wundef \
            -Wnull-dereference -Werror
PACKAGES := libpq hiredis libcurl openssl jansson
# libfcgi ships no pkg-config file; hiredis's include path holds its own directory.
LIBS     := $(shell pkg-config --libs $(PACKAGES) 2>/dev/null) -lfcgi -lpthread -lm
CFLAGS_release := -O2 -g -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fPIE -fno-plt
CFLAGS_check   := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
LDFLAGS_release := -pie -Wl,-z,relro,-z,now -Wl,--as-needed
LDFLAGS_check   := -fsanitize=address,undefined
BELFRY_CFLAGS  := -std=gnu11 -D_GNU_SOURCE -DBELFRY_VERSION='"$(VERSION)"' $(WARNINGS) $(CFLAGS_$(MODE)) \
                  -I. -Ishared -I$(BUILD)/gen $(shell pkg-config --cflags $(PACKAGES) 2>/dev/null)

SHARED   := $(wildcard shared/core/*.c shared/format/*.c shared/io/*.c shared/domain/*.c)
QUERIES  := $(wildcard sql/queries/*.sql)
MIGRATIONS := $(wildcard sql/migrations/*.sql) $(wildcard sql/*.sql)
SOURCES_belfry-api       := $(wildcard handlers/*.c)
SOURCES_belfry-worker    := $(wildcard worker/*.c worker/providers/*.c)
SOURCES_belfry-scheduler := $(wildcard scheduler/*.c)
SOURCES_belfryctl        := $(wildcard deploy/belfryctl/*.c) $(BUILD)/gen/migrations.c
UNIT_TESTS := $(patsubst tests/unit/%.c,%,$(wildcard tests/unit/test_*.c))
FUZZ_PROGRAMS := $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
# Replays the corpus; empty when clang's -fsanitize=fuzzer brings its own main() (see tests/fuzz/run).
FUZZ_MAIN ?= tests/fuzz/main.c
BENCH_PROGRAMS := $(patsubst tests/bench/%.c,%,$(wildcard tests/bench/*.c))

objects = $(patsubst $(BUILD)/gen/%.c,$(OUT)/gen/%.o,$(patsubst %.c,$(OUT)/%.o,$(filter-out $(BUILD)/gen/%,$(1))) $(filter $(BUILD)/gen/%,$(1)))

.PHONY: all help deps run test bench lint format clean install check unit-programs fuzz-programs bench-programs
.SECONDARY:
.DEFAULT_GOAL := all

all: $(PROGRAMS:%=$(OUT)/%) ## build the programs
check: ## build the programs and unit tests with sanitizers
	@$(MAKE) --no-print-directory MODE=check all unit-programs
unit-programs: $(UNIT_TESTS:%=$(OUT)/unit/%)
fuzz-programs: $(FUZZ_PROGRAMS:%=$(OUT)/fuzz/%)
bench-programs: $(BENCH_PROGRAMS:%=$(OUT)/bench/%)

$(BUILD)/gen/queries.h $(BUILD)/gen/queries.c &: $(QUERIES) sql/generate
	@mkdir -p $(BUILD)/gen
	$(call say,GEN)
	$(QUIET)sql/generate queries $(BUILD)/gen $(QUERIES)
$(BUILD)/gen/migrations.c: $(MIGRATIONS) sql/generate
	@mkdir -p $(BUILD)/gen
	$(call say,GEN)
	$(QUIET)sql/generate migrations $(BUILD)/gen $(MIGRATIONS)

$(OUT)/gen/%.o: $(BUILD)/gen/%.c
	@mkdir -p $(@D)
	$(call say,CC)
	$(QUIET)$(CC) $(BELFRY_CFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@
$(OUT)/%.o: %.c | $(BUILD)/gen/queries.h
	@mkdir -p $(@D)
	$(call say,CC)
	$(QUIET)$(CC) $(BELFRY_CFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

SHARED_OBJECTS := $(call objects,$(SHARED) $(BUILD)/gen/queries.c)
$(OUT)/libbelfry.a: $(SHARED_OBJECTS)
	@rm -f $@
	$(QUIET)$(AR) rcs $@ $^

define program
$(OUT)/$(1): $(call objects,$(SOURCES_$(1))) $(OUT)/libbelfry.a
	$$(call say,LINK)
	$$(QUIET)$(CC) $$(LDFLAGS_$(MODE)) $$(LDFLAGS) $$^ $$(LIBS) -o $$@
endef
$(foreach p,$(PROGRAMS),$(eval $(call program,$(p))))

# A unit test links the shared library, and of each program all but its main().
UNIT_EXTRA := $(call objects,$(filter-out %/main.c,$(SOURCES_belfry-api) $(SOURCES_belfry-worker) $(SOURCES_belfry-scheduler)))
$(OUT)/libprograms.a: $(UNIT_EXTRA)
	@rm -f $@
	$(QUIET)$(AR) rcs $@ $^
$(OUT)/unit/%: $(OUT)/tests/unit/%.o $(OUT)/libprograms.a $(OUT)/libbelfry.a
	@mkdir -p $(@D)
	$(call say,CC)
	$(QUIET)$(CC) $(LDFLAGS_$(MODE)) $(LDFLAGS) $^ -lcmocka $(LIBS) -o $@
# A fuzzer over its corpus; tests/fuzz/run builds the same file with clang's libFuzzer to search for more.
$(OUT)/fuzz/%: $(OUT)/tests/fuzz/%.o $(call objects,$(FUZZ_MAIN)) $(OUT)/libprograms.a $(OUT)/libbelfry.a
	@mkdir -p $(@D)
	$(call say,CC)
	$(QUIET)$(CC) $(LDFLAGS_$(MODE)) $(LDFLAGS) $^ $(LIBS) -o $@
$(OUT)/bench/%: $(OUT)/tests/bench/%.o $(OUT)/libbelfry.a
	@mkdir -p $(@D)
	$(call say,CC)
	$(QUIET)$(CC) $(LDFLAGS_$(MODE)) $(LDFLAGS) $^ $(LIBS) -o $@

deps: ## install the Debian packages that building and running need
	@deploy/install-deps build run
run: deps ## build, start everything on private ports, print the page's address (PORT=8080)
	@$(MAKE) --no-print-directory all
	@exec deploy/dev/run $(if $(PORT),--port $(PORT))
test: ## install what the tests need and run all of them
	@deploy/install-deps build run test
	@exec tests/run $(TESTS)
bench: ## measure; each figure is a ratio to a reference of the same run
	@deploy/install-deps build run test
	@$(MAKE) --no-print-directory all bench-programs
	@exec tests/bench/run $(BENCH)
lint: ## clang-tidy and cppcheck
	@deploy/install-deps build lint
	@$(MAKE) --no-print-directory $(BUILD)/gen/queries.h $(BUILD)/gen/migrations.c
	cppcheck --quiet --error-exitcode=1 --std=c11 --enable=warning,portability,performance --inline-suppr \
	    --suppress=missingIncludeSystem --suppress=normalCheckLevelMaxBranches -I. -Ishared -I$(BUILD)/gen \
	    $(addprefix --include=,$(wildcard /usr/include/*/sys/queue.h)) \
	    shared handlers worker scheduler deploy/belfryctl
	clang-tidy --quiet --warnings-as-errors='*' $(wildcard shared/*/*.c handlers/*.c worker/*.c worker/providers/*.c \
	    scheduler/*.c deploy/belfryctl/*.c) -- $(filter-out -Werror -Wnull-dereference,$(BELFRY_CFLAGS))
format: ## lay out all C files
	clang-format -i $(shell git ls-files -c -o --exclude-standard '*.c' '*.h')
install: all ## copy programs, pages and examples below $(DESTDIR)$(PREFIX)
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/belfry
	install -m 755 $(PROGRAMS:%=$(OUT)/%) $(DESTDIR)$(PREFIX)/bin
	cp -r www deploy/lighttpd deploy/apache deploy/nginx deploy/systemd $(DESTDIR)$(PREFIX)/share/belfry/
clean: ## remove everything that was built, and the data of `make run`
	rm -rf $(BUILD)
help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1	\2/p' Makefile | expand -t 12

-include $(shell find $(OUT) -name '*.d' 2>/dev/null)
