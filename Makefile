# SPDX-License-Identifier: BSD-2-Clause
#
# One page, not recursive; `make help` lists the targets.  Sources are found by folder, so a
# new file needs no line here.  What the machine offers (flags of the libraries, where
# libbpf >= 1.4 is) stands in $(DEPS)/build.mk, which setup.sh writes.

.DELETE_ON_ERROR:
.SECONDARY:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules
MAKEFLAGS += $(if $(V),,--no-print-directory)
ifeq ($(MAKELEVEL)$(filter clean distclean,$(MAKECMDGOALS)),0)
JOBS	:= $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc))
MAKEFLAGS += $(JOBS)
endif

comma	:= ,
B	:= $(if $(FUZZ),build-fuzz,$(if $(SAN),build-san,build))
DEPS	?= build/deps
PREFIX	?= /usr/local
CLANG	?= clang
CC	:= $(if $(FUZZ),$(CLANG),$(if $(filter default,$(origin CC)),gcc,$(CC)))
STRIP	?= llvm-strip
CFLAGS	?= -O2 -g
Q	:= $(if $(V),,@)
say	= $(if $(V),@:,@printf '  %-6s %s\n' $(1) $(2))

WARN	:= -Wall -Wextra -Wshadow -Wmissing-prototypes -Wcast-qual -Wswitch-enum -Wformat=2 -Werror
HARDEN	:= $(if $(SAN)$(FUZZ),-fsanitize=address$(comma)undefined -fno-sanitize-recover=undefined \
	-fno-omit-frame-pointer $(if $(FUZZ),-fsanitize=fuzzer-no-link),-U_FORTIFY_SOURCE \
	$(if $(filter -O0,$(CFLAGS)),,-D_FORTIFY_SOURCE=2) -fstack-protector-strong)
C_FLAGS	 = -std=gnu11 -D_GNU_SOURCE -I. $(WARN) $(CFLAGS) $(HARDEN) -fPIE -pthread $(DEPS_CFLAGS)
L_FLAGS	 = $(HARDEN) -pie -pthread -Wl,--as-needed,-z,relro,-z,now $(LDFLAGS)
B_FLAGS	 = -target bpf -mcpu=v3 -std=gnu11 -O2 -g -Wall -Werror -I. -I$B/include/hotfixd $(BPF_CFLAGS)

# In the order of linking: a folder uses only those to its right (tests/lint checks it).
FOLDERS	:= server cli server/controller store bpf lib
BASE	:= store bpf lib
csrc	 = $(filter-out %.bpf.c,$(wildcard $(1:%=%/*.c)))
bsrc	 = $(wildcard $(1:%=%/*.bpf.c))
objs	 = $(patsubst %.c,$B/%.o,$(call csrc,$1)) \
	   $(if $(filter bpf,$1),$(patsubst %.c,$B/%.embed.o,$(call bsrc,$1)))
libs	 = $(foreach f,$1,$(if $(call csrc,$f),$B/$f.a))
DAEMON	:= $(if $(call csrc,server),$B/bin/hotfixd)
CTL	:= $(if $(call csrc,cli),$B/bin/hotfixctl)
FLEET	:= $(if $(wildcard server/controller/main.c),$B/bin/hotfix-controller)
UNITS	:= $(wildcard server/*.service server/*.socket server/controller/*.service)
USERS	:= $(wildcard server/*.sysusers server/controller/*.sysusers)
PAGES	:= $(wildcard server/*.[1-8] server/controller/*.[1-8] cli/*.[1-8])
HEADERS	:= $B/include/hotfixd/.stamp
TESTS	:= $(patsubst %.c,$B/%,$(call csrc,tests/unit tests/scenario tests/bench tests/vm tests/fleet)) \
	   $B/tests/fault/matrix $B/tests/fault/fault.so
TESTBPF	:= $(patsubst %.c,$B/%.o,$(call bsrc,tests/unit tests/vm tests/foreign tests/bad tests/harm tests/scenario tests/bench))
FUZZERS	:= $(patsubst %.c,$B/%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_SHARED := $B/tests/fuzz/common.o $B/tests/fuzz/kernel.o
TRIGGER	:= $(patsubst %.c,$B/%,$(wildcard patches/*/trigger.c))

.PHONY: all setup demo demo-fleet check check-long check-fleet-long bench fuzz fuzzers lint format install uninstall clean distclean help FORCE
all: $(DAEMON) $(CTL) $(FLEET) $(call libs,$(FOLDERS)) $(HEADERS) $(TESTS) $(TESTBPF) $(TRIGGER) compile_commands.json

# Set-up runs once; make then starts over by itself with the new build.mk.
ifneq ($(filter-out help clean distclean format fuzz setup uninstall,$(or $(MAKECMDGOALS),all)),)
include $(DEPS)/build.mk
endif
$(DEPS)/build.mk: packages.txt setup.sh
	@DEPS=$(DEPS) ./setup.sh build

# Which flags were used, and what an archive is made of: rewritten only when they change.
keep	= @mkdir -p $(@D); echo '$1' | cmp -s - $@ || echo '$1' >$@
$B/flags: FORCE $(DEPS)/build.mk
	$(call keep,$(CC) $(C_FLAGS) $(L_FLAGS) $(CLANG) $(B_FLAGS))
$B/%.list: FORCE
	$(call keep,$(call objs,$*))

$B/%.o: %.c $B/flags
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(C_FLAGS) -MMD -MP -c -o $@ $<

# BPF objects keep their BTF and lose their DWARF; those of bpf/ are embedded as x_bpf_o[].
$B/%.bpf.o: %.bpf.c $(HEADERS) $B/flags
	$(call say,BPF,$<)
	$(Q)mkdir -p $(@D) && $(CLANG) $(B_FLAGS) -MMD -MP -c -o $@ $< && $(STRIP) -g $@
$B/%.bpf.embed.o: $B/%.bpf.o
	$(call say,EMBED,$<)
	$(Q)s=$(subst -,_,$(*F))_bpf_o && printf '%s\n' '.section .rodata' '.balign 16' \
		".global $$s, $${s}_end" "$$s: .incbin \"$<\"" "$${s}_end: .byte 0" \
		'.section .note.GNU-stack,"",@progbits' | $(CC) -x assembler -c -o $@ -

$(foreach f,$(FOLDERS),$(eval $B/$f.a: $(call objs,$f)))
$B/%.a: $B/%.list
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $(filter %.o,$^)

$B/server/controller/operators_access.o: server/controller/openapi.yaml

# main() is pulled out of its folder's archive like any other object.
link	= $(Q)mkdir -p $(@D) && $(CC) $(L_FLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(DEPS_LIBS)
$B/bin/hotfixd: $(call libs,server $(BASE))
	$(call say,LD,$@)
	$(link)
$B/bin/hotfixctl: $(call libs,cli $(BASE))
	$(call say,LD,$@)
	$(link)
$B/bin/hotfix-controller: $(call libs,server/controller store lib)
	$(call say,LD,$@)
	$(link)
$B/tests/fuzz/fuzz_%: $B/tests/fuzz/fuzz_%.o $(FUZZ_SHARED) $(call libs,$(FOLDERS))
	$(call say,LD,$@)
	$(link) -fsanitize=fuzzer
# Every target once more, for the files of its corpus only, with any compiler.
$B/tests/unit/test_fuzz: $(FUZZERS:%=%.o) $(FUZZ_SHARED)
$B/tests/fault/%: $B/tests/fault/%.o $B/tests/fault/world.o $(call libs,$(FOLDERS))
	$(call say,LD,$@)
	$(link)
# Goes into any process, sanitized or not.
$B/tests/fault/fault.so: tests/fault/fault.c tests/fault/fault.h $B/flags
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D) && $(CC) -std=gnu11 -D_GNU_SOURCE -I. $(WARN) -O2 -g $(DEPS_CFLAGS) -fPIC -shared -o $@ $< -ldl
$B/tests/%: $B/tests/%.o $(call libs,$(FOLDERS))
	$(call say,LD,$@)
	$(link)
# Trouble on the way of its requests.
$B/tests/fleet/simulate: private L_FLAGS += -Wl,--wrap=agent_call_start,--wrap=agent_call_cancel
$B/tests/unit/test_agent: private L_FLAGS += -Wl,--wrap=clock_real_ms
$B/patches/%: $B/patches/%.o
	$(call say,LD,$@)
	$(link)

# What authors of hot-fixes include; hotfixctl finds it as ../include/hotfixd from its own place.
$(HEADERS): $B/flags $(wildcard bpf/hotfix.bpf.h)
	$(Q)mkdir -p $(@D)/bpf && cp -f $(LIBBPF_HEADERS)/bpf/*.h $(@D)/bpf/
	$(Q)$(if $(filter %.h,$^),cp -f $(filter %.h,$^) $(@D)/ &&) touch $@

compile_commands.json: $B/flags FORCE
	@for f in $(call csrc,$(FOLDERS) tests/unit tests/scenario tests/bench tests/fault tests/vm tests/fleet patches/*); do \
		printf '%s{"directory": "%s", "file": "%s", "command": "%s -c %s"}\n' "$$sep" '$(CURDIR)' \
		"$$f" '$(CC) $(C_FLAGS)' "$$f"; sep=,; done | { echo [; cat; echo ]; } >$B/$@.new; \
		cmp -s $B/$@.new $@ || cp $B/$@.new $@

setup:	## install what building, testing and the guests need
	@DEPS=$(DEPS) ./setup.sh build test guests
demo: all setup	## close a real kernel hole, upgrade under load, roll back: what was proven
	@DEPS=$(DEPS) tests/demo
demo-fleet: all setup	## a fleet: canaries on three kernels, a rollout that succeeds, one that is taken back
	@DEPS=$(DEPS) tests/demo-fleet
check: all setup	## lint, unit, scenario and guest tests; ends with `N passed, N failed, N skipped`
	@DEPS=$(DEPS) tests/check
check-long: all setup	## the same, and the tests that take long
	@DEPS=$(DEPS) tests/check --long
check-fleet-long: all setup	## 10,000 simulated hosts on both databases, and what goes wrong in a fleet
	@B=$B tests/fleet/long
bench:	## measurements, one JSON line each, and nothing else on stdout
	@$(MAKE) all >&2
	@DEPS=$(DEPS) ./setup.sh test bench >&2
	@DEPS=$(DEPS) tests/bench/run
fuzzers: $(FUZZERS)
fuzz:	## fuzz what parses foreign bytes, FUZZ_S seconds each target (60)
	@DEPS=$(DEPS) ./setup.sh build fuzz
	@$(MAKE) FUZZ=1 fuzzers
	@tests/fuzz/run
lint:	## include DAG, SPDX lines, formatting, shell scripts
	@tests/lint/run
format:	## rewrite sources as .clang-format says
	@git ls-files -co --exclude-standard '*.c' '*.h' | xargs -r clang-format -i

I	= $(DESTDIR)$(PREFIX)
BASH_WORDS := share/bash-completion/completions/hotfixctl
ZSH_WORDS := share/zsh/site-functions/_hotfixctl
install: $(DAEMON) $(CTL) $(FLEET) $(HEADERS)	## install under DESTDIR and PREFIX (/usr/local)
	$(if $(CTL),install -D -m 755 $(CTL) $I/bin/hotfixctl)
	$(if $(DAEMON),install -D -m 755 $(DAEMON) $I/sbin/hotfixd)
	$(if $(FLEET),install -D -m 755 $(FLEET) $I/sbin/hotfix-controller)
	install -d $I/include/hotfixd/bpf
	install -m 644 $B/include/hotfixd/bpf/*.h $I/include/hotfixd/bpf/
	install -m 644 bpf/hotfix.bpf.h $I/include/hotfixd/
	install -d $(dir $I/$(BASH_WORDS) $I/$(ZSH_WORDS))
	$(if $(CTL),$(CTL) completion bash >$I/$(BASH_WORDS) && chmod 644 $I/$(BASH_WORDS))
	$(if $(CTL),$(CTL) completion zsh >$I/$(ZSH_WORDS) && chmod 644 $I/$(ZSH_WORDS))
	for m in $(PAGES); do install -D -m 644 $$m $I/share/man/man$${m##*.}/$${m##*/}; done
	install -d $I/lib/systemd/system
	for s in $(UNITS); do \
		sed 's,/usr/local/sbin/,$(PREFIX)/sbin/,' $$s >$I/lib/systemd/system/$${s##*/}; done
	install -D -m 644 server/hotfixd-fleet.conf $I/share/doc/hotfixd/hotfixd-fleet.conf
	for u in $(USERS); do install -D -m 644 $$u $I/lib/sysusers.d/$$(basename $$u .sysusers).conf; done
	$(if $(DESTDIR),,@! command -v systemd-sysusers >/dev/null || systemd-sysusers $(patsubst %.sysusers,$I/lib/sysusers.d/%.conf,$(notdir $(USERS))))
uninstall:	## remove what install put there
	rm -rf $I/include/hotfixd $I/share/doc/hotfixd $I/bin/hotfixctl $I/sbin/hotfixd $I/sbin/hotfix-controller
	rm -f $(addprefix $I/lib/systemd/system/,$(notdir $(UNITS))) $(patsubst %.sysusers,$I/lib/sysusers.d/%.conf,$(notdir $(USERS)))
	rm -f $I/$(BASH_WORDS) $I/$(ZSH_WORDS)
	for m in $(PAGES); do rm -f $I/share/man/man$${m##*.}/$${m##*/}; done
clean:	## remove what was built, keep what was downloaded
	rm -rf build-san build-fuzz compile_commands.json
	[ ! -d build ] || find build -mindepth 1 -maxdepth 1 ! -name deps -exec rm -rf {} +
distclean: clean	## remove the downloads as well
	rm -rf build
help:	## this list
	@echo 'make [SAN=1] [V=1] [CC=clang] [DEPS=DIR] TARGET'
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  \1	\2/p' Makefile | expand -t 20

-include $(shell find $B -name deps -prune -o -name '*.d' -print 2>/dev/null)
