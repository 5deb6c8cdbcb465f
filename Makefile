# Makefile of etherlua. `make help` lists the targets.
#
# Variables: PREFIX, DESTDIR, CC, CFLAGS as usual; V=1 shows the commands; SAN=1 builds with the address and undefined
# behaviour sanitizers into build/san; RELAY=kind picks the relay of demo and bench. TESTS="spec/core spec/x_spec.lua" selects
# specs, of which JOBS run at once, each for LIMIT seconds at the most; ARGS="--filter=gateway" is handed to busted.
# CASES="send recv" selects benchmarks, and ARGS="--rounds 1 --seconds 0.3" is handed to them. SECONDS=600 is for how long
# to fuzz in all; FUZZ="ingress file" selects targets. DISTRO=bookworm is the Debian that is tested in, NIC="virtio e1000e"
# selects the machines of test-vm, of which VM_ACCEL=kvm is qemu's -accel; SHORT=1 with some specs.

PREFIX  ?= /usr/local
CFLAGS  ?= -O2 -g
TESTS   ?= spec
B       := build$(if $(SAN),/san)

# pkg-config is asked when a command runs, not before: `make test` may just have installed it.
WARN     = -Wall -Wextra -Wshadow
INCLUDE  = -std=c11 -D_GNU_SOURCE -Iengine $(shell pkg-config --cflags luajit libpcap libxdp libbpf libedit)
CCARGS   = $(INCLUDE) $(WARN) -fPIC -fvisibility=hidden $(HARDEN) $(CFLAGS) $(SANFLAGS) $(CPPFLAGS)
LIBS     = $(shell pkg-config --libs libpcap libxdp libbpf)
HOSTLIBS = $(shell pkg-config --libs luajit libedit)

# What makes a mistake of ours the end of the process, rather than a way into it. $(call has,FLAGS): those, where the
# compiler has them. A choice of level in CFLAGS or CPPFLAGS stays; the sanitizers make better checks, and without
# optimization there are none.
has      = $(shell $(CC) -O2 -Werror $(1) -include string.h -c -x c -o /dev/null /dev/null 2>/dev/null && echo '$(1)')
fortify  = -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=$(1)
CHECKED  = $(if $(SAN)$(findstring _FORTIFY_SOURCE,$(CFLAGS) $(CPPFLAGS)),,\
           $(if $(filter -O1 -O2 -O3 -Os,$(CFLAGS)),$(or $(call has,$(call fortify,3)),$(call fortify,2))))
HARDEN   = $(eval HARDEN := -fstack-protector-strong $(call has,-fstack-clash-protection) \
           $(or $(call has,-fcf-protection),$(call has,-mbranch-protection=standard)) $(CHECKED))$(HARDEN)
LINK     = -Wl,-z,relro,-z,now,-z,noexecstack $(CFLAGS) $(HARDEN) $(SANFLAGS) $(LDFLAGS)

SOURCES := $(filter-out engine/package/%,$(wildcard engine/*.c engine/*/*.c))
OBJECTS := $(patsubst engine/%.c,$(B)/%.o,$(SOURCES))
OTHERS  := $(filter-out %.bpf.c,$(wildcard scripts/bench/floor/*.c engine/package/*.c spec/fuzz/*.c))
# What the program and the library both have, each its own.
SHARED  := $(B)/os/private_file.o
HOST    := $(filter $(B)/program/%,$(OBJECTS))
FORMAT  := $(wildcard engine/*.[ch] engine/*/*.[ch] engine/os/windows/*.[ch] \
           spec/windows/*.c spec/support/*.c spec/fuzz/*.[ch] bpf/*.[ch] scripts/bench/floor/*.[ch])
VERSION  = $(shell sed -n 's/^#define EL_VERSION "\(.*\)"/\1/p' engine/abi.c)

# What `make portable` links statically: these packages of pkg-config, cjson, whose .pc file asks for another Lua, and
# libpcap, whose .pc file asks for what engine/package/pcap_dbus.c makes unnecessary. elf_search.c there is a part that
# Debian 13's static libelf lacks.
STATIC     = luajit libxdp libbpf libedit
FROM_LIBC  = -lm -ldl -lpthread
STATICLIBS = -llua5.1-cjson -lpcap $(filter-out $(FROM_LIBC) -Wl$(,)-E,$(shell pkg-config --static --libs $(STATIC)))
# Its dynamic symbols: the engine's, for ffi.C, and those of Lua, for modules in C that are on the machine.
EXPORTS    = -Wl,--export-dynamic-symbol=el_*,--export-dynamic-symbol=lua*

# What Debian and Ubuntu call it.
DEPS_RUN  := lua-argparse lua-cjson iproute2
DEPS      := gcc libc6-dev make pkg-config clang luajit libluajit-5.1-dev libpcap-dev libxdp-dev libbpf-dev \
             libedit-dev cmark-gfm $(DEPS_RUN)
DEPS_TEST := lua-busted llvm procps util-linux kea-dhcp4-server dnsmasq-base busybox isc-dhcp-client tcpdump ethtool \
             python3-scapy libcap2-bin mandoc tidy isc-dhcp-relay nftables tmux tshark iputils-ping iputils-arping \
             radvd traceroute fping arp-scan binutils mpich
DEPS_VM := qemu-system-x86 cpio kmod
DEPS_PORTABLE := lua-cjson-dev
DEPS_DEB := dpkg-dev binutils
DEPS_BENCH := ethtool tcpdump util-linux kea-dhcp4-server arp-scan fping
DEPS_STRUCTURE := graphviz
DEPS_FUZZ := clang libclang-rt-dev llvm binutils lua-busted
DEPS_DISTRO := debootstrap luajit util-linux
DEPS_LINT := clang clang-format clang-tidy cppcheck lua-check

# What the specs see: the program and the library of this build. Leaks are looked for when the process ends, which is
# after Lua has closed: so memory that only Lua points to, which the sanitizer cannot see, is no false alarm.
TESTENV = ETHERLUA=$(CURDIR)/$(B)/etherlua ETHERLUA_LIB=$(CURDIR)/$(B)/libetherlua.so \
	LD_PRELOAD=$(and $(SAN),$(SANITIZER):)$(CURDIR)/$(B)/clock.so
ifdef SAN
SANFLAGS = -fsanitize=address,undefined -fno-omit-frame-pointer -fno-sanitize-recover=all
TESTENV += UBSAN_OPTIONS=print_stacktrace=1
SANITIZER = $(shell $(CC) -print-file-name=libasan.so)
TESTENV += SANITIZER=$(SANITIZER)
endif

BUSTED = env $(TESTENV) luajit $(shell command -v busted) --ignore-lua $(ARGS)

, := ,
Q   := $(if $(V),,@)
say  = $(if $(V),,@printf '  %-3s %s\n' $(1) $@)
submake = $(MAKE) --no-print-directory

.PHONY: all for-specs doc structure deps deps-test deps-vm deps-distro deps-portable deps-deb deps-bench \
        deps-structure deps-fuzz deps-lint demo bench test test-fast test-vm test-distro fuzz fuzz-long coverage \
        torture conserve soak faults lint format portable windows deps-windows test-windows deb install uninstall clean help
.DELETE_ON_ERROR:

all: $(B)/libetherlua.so $(B)/etherlua ## build the library and the program (the default)
	@:

# It stays in memory when Lua has let go of it: its signal handler does, too.
$(B)/libetherlua.so: $(filter-out $(HOST),$(OBJECTS))
	$(call say,LD)
	$(Q)$(CC) -shared -Wl,-z,nodelete $(LINK) -o $@ $^ $(LIBS)

$(B)/etherlua: $(HOST) $(SHARED)
	$(call say,LD)
	$(Q)$(CC) -pie -Wl,-E $(LINK) -o $@ $^ $(HOSTLIBS)

# Folders too, so that it sees what is added or gone.
$(B)/portable/files.c: engine/package/embed.lua $(shell find lua scripts -maxdepth 4)
	$(call say,GEN)
	@mkdir -p $(@D)
	$(Q)luajit $< >$@

$(B)/portable/etherlua: $(B)/portable/files.c engine/program/embedded.h $(wildcard engine/package/*.c) $(OBJECTS) Makefile
	$(call say,LD)
	$(Q)$(CC) $(CCARGS) -pie -s -static-libgcc $(LINK) $(EXPORTS) -o $@ $(filter-out %/embedded.o,$(filter %.c %.o,$^)) \
		-Wl,-Bstatic $(STATICLIBS) -Wl,-Bdynamic $(FROM_LIBC)

# With the clocks of the specs' own processes.
for-specs: all $(B)/clock.so
	@:

$(B)/clock.so: spec/support/clock.c
	$(call say,LD)
	$(Q)$(CC) -shared -fPIC -o $@ $<

$(B)/%.o: engine/%.c Makefile
	$(call say,CC)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CCARGS) -MMD -MP -c -o $@ $<

# By .incbin, which -MMD does not see.
$(B)/abi.o: engine/abi.h
$(B)/kinds/steer.o: $(B)/steer.bpf.o
$(B)/kinds/steer.o: CCARGS += -DSTEER_OBJECT='"$(B)/steer.bpf.o"'

%/steer.bpf.o: bpf/steer.bpf.c bpf/steer.h Makefile
	$(call say,BPF)
	@mkdir -p $(@D)
	$(Q)clang -O2 -g -Wall -Werror -target bpf -I/usr/include/$(shell uname -m)-linux-gnu -c -o $@ $<

-include $(OBJECTS:.o=.d)

# $(call need,PACKAGES): installs those that are missing, and is silent when none is.
define need
	@have=" $$(dpkg-query -W -f '$${Package}:$${db:Status-Status} ' $(1) 2>/dev/null)"; missing=; \
	for p in $(sort $(1)); do case "$$have" in *" $$p:installed "*) ;; *) missing="$$missing $$p" ;; esac; done; \
	[ -n "$$missing" ] || exit 0; \
	command -v apt-get >/dev/null || { echo "no apt-get here; needed, by their Debian names:$$missing"; exit 0; }; \
	[ "$$(id -u)" = 0 ] || sudo=sudo; \
	echo "installing with $${sudo:+sudo }apt-get:$$missing"; \
	case "$$missing" in *kea-dhcp4-server*) [ ! -d /run/systemd/system ] || \
		echo "note: systemd may start kea-dhcp4-server; the tests start their own" ;; esac; \
	$$sudo apt-get -qq update </dev/null && $$sudo env DEBIAN_FRONTEND=noninteractive \
		apt-get -qq install -y --no-install-recommends $$missing </dev/null >/dev/null
endef

deps: ## install what building and running need
	$(call need,$(DEPS))

deps-test: ## install what the tests need
	$(call need,$(DEPS) $(DEPS_TEST) $(DEPS_PORTABLE) $(DEPS_DEB))

deps-vm: ## install what the specs on other NICs and another kernel need
	$(call need,$(DEPS) $(DEPS_TEST) $(DEPS_VM))

deps-portable: ## install what the portable program is made of
	$(call need,$(DEPS) $(DEPS_PORTABLE))

deps-deb: ## install what makes a Debian package
	$(call need,$(DEPS) $(DEPS_DEB))

deps-bench: ## install what the benchmarks need
	$(call need,$(DEPS) $(DEPS_BENCH))

deps-structure: ## install what draws the structure
	$(call need,$(DEPS) $(DEPS_STRUCTURE))

deps-fuzz: ## install what fuzzing and coverage need
	$(call need,$(DEPS) $(DEPS_FUZZ))

deps-distro: ## install what makes another Debian
	$(call need,$(DEPS_DISTRO))

deps-lint: ## install what lint needs
	$(call need,$(DEPS) $(DEPS_LINT))

demo: deps ## one DHCP client against an emulated access network
	@$(submake) all
	$(Q)$(B)/etherlua run --lab $(and $(RELAY),-i $(RELAY)) scripts/dhcp4_client.lua \
		--mac aa:bb:cc:11:22:33 --vlan 100 --trace

# What is measured is remembered in build/bench.jsonl.
bench: deps-bench ## measure against floors (RELAY=kind: that one only; CASES="send recv"; BASE=commit: beside that one)
	@$(submake) all
	$(Q)$(if $(BASE),rm -rf $(BASED) && mkdir -p $(BASED) && git archive $(BASE) | tar -x -C $(BASED) && \
		$(submake) -C $(BASED) B=build all &&) $(B)/etherlua run scripts/bench/all.lua $(and $(RELAY),-i $(RELAY)) \
		--plot $(B)/bench.svg --history $(B)/bench.jsonl $(and $(BASE),--base $(BASED)) $(ARGS) $(CASES)
BASED = $(B)/bench-base

# Most of the time specs wait, so there are several to a processor; with sanitizers all takes twice as long.
JOBS  ?= $(shell expr 4 \* $$(nproc))
LIMIT ?= $(if $(SAN),600,360)
run_specs = BUSTED='$(BUSTED)' luajit spec/support/run.lua $(JOBS) $(LIMIT) $(B)/$@ $(TESTS)

test: deps-test ## run the specs (TESTS=spec/core: only those; ARGS=--filter=x; SAN=1: with sanitizers)
	@$(submake) for-specs
	$(Q)$(run_specs)

test-fast: ## those that need no root, no namespaces and no packages but lua-busted
	$(call need,$(DEPS) lua-busted)
	@$(submake) for-specs
	$(Q)FAST=1 $(run_specs)

test-distro: DISTRO ?= trixie
test-distro: ## demo and specs in Debian 13 (DISTRO=bookworm: 12; SHORT=1: some specs; TESTS=, JOBS=, ARGS= as above)
	@$(submake) deps-distro || :
	$(Q)setpriv --pdeathsig KILL luajit spec/distro/run.lua '$(DISTRO)' '$(SHORT)'

# Where qemu cannot be installed it says so, and is skipped.
VM_ACCEL ?= tcg
test-vm: ## relay specs on other NICs and kernels, in qemu (NIC="virtio4 e1000e"; DISTRO=trixie; SHORT=1: a part)
	@$(submake) deps-vm || :
	@$(submake) for-specs
	$(Q)BUSTED='$(BUSTED)' DISTRO='$(DISTRO)' luajit spec/vm/all.lua build/vm$(DISTRO:%=-%) \
		$(if $(SHORT),short,full) $(VM_ACCEL) $(NIC)

# Of the fuzz targets: build/fuzz is the engine with clang's sanitizers and what guides libFuzzer; build/coverage counts
# lines and branches. The engine's calls of these functions go to spec/fuzz/harness.h. Targets in Lua use build/.
FUZZ_C   := $(patsubst spec/fuzz/%.c,%,$(wildcard spec/fuzz/*.c))
FUZZ_LUA := codec role
FUZZ     ?= $(FUZZ_C) $(FUZZ_LUA)
IN_C      = $(filter $(FUZZ_C),$(FUZZ))
IN_LUA    = $(filter-out $(FUZZ_C),$(FUZZ))
FUZZED    = clock_gettime getrandom malloc calloc realloc fstat inotify_init1 inotify_add_watch
FUZZBUILD = B=build/fuzz CC=clang SAN=1 CFLAGS='-O1 -g' CPPFLAGS=-D__SANITIZE_ADDRESS__=1 \
	SANFLAGS='-fsanitize=address,undefined,fuzzer-no-link -fno-omit-frame-pointer -fno-sanitize-recover=all'
COVERED   = B=build/coverage CC=clang SAN=1 CFLAGS='-O1 -g' SANFLAGS='-fprofile-instr-generate -fcoverage-mapping'

FUZZENV   = ETHERLUA_LIB=$(CURDIR)/build/libetherlua.so

$(B)/fuzzed.o: $(filter-out $(HOST),$(OBJECTS)) Makefile
	$(call say,LD)
	$(Q)$(LD) -r -o $@ $(filter %.o,$^)
	$(Q)objcopy $(foreach f,$(FUZZED),--redefine-sym $f=fuzz_$f) $@

$(B)/target/%: spec/fuzz/%.c spec/fuzz/harness.h spec/fuzz/mutator.h $(B)/fuzzed.o
	$(call say,LD)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CCARGS) $(LDFLAGS) -fsanitize=fuzzer -o $@ $< $(B)/fuzzed.o $(LIBS)

# Sets $$in_c: the targets in C, or none, with a word about what is missing, where there is no libFuzzer.
define fuzzer
	@mkdir -p build; in_c="$(IN_C)"; [ -z "$$in_c" ] || echo 'int LLVMFuzzerTestOneInput(void) { return 0; }' | \
		clang -fsanitize=fuzzer -x c -o build/fuzzer - 2>build/fuzzer.log || \
		{ echo "skipped: clang cannot build with libFuzzer: $$(head -n 1 build/fuzzer.log)"; in_c=; };
endef

# $(call run_fuzz,JOBS)
define run_fuzz
	$(fuzzer) [ -n "$${in_c}$(IN_LUA)" ] || exit 0; $(submake) SAN= all && \
		{ [ -z "$$in_c" ] || $(submake) $(FUZZBUILD) $(IN_C:%=build/fuzz/target/%); } && \
		export $(FUZZENV) && { [ -z "$(IN_LUA)" ] || luajit spec/fuzz/captures.lua build/fuzz $(CAPTURES); } && \
		luajit spec/fuzz/run.lua build/fuzz $(SECONDS) $(1) $$in_c $(IN_LUA)
endef

fuzz: SECONDS ?= 60
fuzz: deps-fuzz ## fuzz engine, codecs and roles for SECONDS=60 in all (FUZZ="ingress codec": only these targets)
	$(call run_fuzz,1)

fuzz-long: SECONDS ?= 3600
fuzz-long: deps-fuzz ## fuzz for SECONDS=3600, on all cores
	$(call run_fuzz,$$(nproc))

# Seconds for which each target in Lua goes on from its inputs.
coverage: SECONDS ?= 30
coverage: deps-fuzz ## which lines and branches of engine and Lua fuzzing, so far, and the engine's specs reach
	$(fuzzer) { [ -z "$$in_c" ] || { $(submake) $(COVERED) build/coverage/etherlua build/coverage/libetherlua.so \
		$(IN_C:%=build/coverage/target/%) && luajit spec/fuzz/coverage.lua build/coverage build/fuzz $$in_c; }; } && \
		{ [ -z "$(IN_LUA)" ] || { $(submake) SAN= all && export $(FUZZENV) && \
		luajit spec/fuzz/lua_coverage.lua build/fuzz $(SECONDS) $(IN_LUA); }; }

# What runs for long, until it is over or something was wrong. Variables of the command line are in the environment.
endure = env $(TESTENV) LUA_PATH='$(CURDIR)/lua/?.lua;$(CURDIR)/lua/?/init.lua;$(CURDIR)/spec/?.lua;;' \
	luajit spec/endure/$@.lua

torture: deps-test ## 100,000 tasks a round that do by chance what tasks can (SECONDS=600, SEED=n)
	@$(submake) all
	$(Q)$(endure)

conserve: deps-test ## random traffic, of which every frame is accounted for (FRAMES=10000000, SEED=n, RELAY=kind)
	@$(submake) all
	$(Q)$(endure)

soak: deps-test ## 10,000 hosts that come and go under load (SECONDS=1800, RELAY=kind, HOSTS=10000, SEED=n)
	@$(submake) all
	$(Q)$(endure)

faults: ROUNDS ?= 3
faults: deps-test ## kill it, break what it needs, see what is left (ROUNDS=100: of each signal; 1: short; SEED=; CASES=)
	@$(submake) all
	$(Q)env $(TESTENV) luajit spec/faults/all.lua $(ROUNDS) '$(SEED)' '$(CASES)'

doc: ## write manual and reference to build/doc: HTML pages, and definitions for editors in build/doc/luals
	$(Q)rm -rf build/doc
	$(Q)luajit scripts/doc/all.lua build/doc

structure: deps-structure ## draw rooms, units and their arrows: build/structure.svg
	$(Q)mkdir -p build && luajit scripts/doc/structure.lua | dot -Tsvg -o build/structure.svg

# $(call check,NAME,COMMAND): a line for the tool, what it said when it failed, and on to the next.
check = printf '  %-12s ' $(1); if out=$$($(2) 2>&1); then echo ok; else echo FAILED; echo "$$out"; bad=1; fi;

lint: deps-lint build/steer.bpf.o ## compilers, clang-tidy, clang-format, cppcheck, luacheck and comments, none of which may complain
	@$(call check,gcc,set -e; for f in $(SOURCES) $(OTHERS); do gcc $(INCLUDE) $(WARN) -O2 -Werror -c -o /dev/null $$f; done) \
	$(call check,clang,clang $(INCLUDE) $(WARN) -Werror -fsyntax-only $(SOURCES) $(OTHERS)) \
	$(call check,clang-tidy,clang-tidy --quiet $(SOURCES) $(OTHERS) -- $(INCLUDE)) \
	$(call check,clang-format,clang-format --dry-run --Werror $(FORMAT)) \
	$(call check,cppcheck,cppcheck -q --std=c11 -D__x86_64__ --enable=warning$(,)performance$(,)portability \
		--error-exitcode=1 --inline-suppr --suppress=missingIncludeSystem -Iengine engine $(OTHERS)) \
	$(call check,luacheck,luacheck --no-color -q lua engine/package scripts spec) \
	$(call check,comments,luajit scripts/doc/comments.lua engine bpf lua scripts spec) \
	exit $${bad:-0}

format: ## reformat the C files
	$(Q)clang-format -i $(FORMAT)

portable: deps-portable ## one executable that needs libc alone: build/portable/etherlua
	@+$(submake) $(B)/portable/etherlua

root   = $(abspath $(DESTDIR)$(PREFIX))

install: all doc ## install below PREFIX (default /usr/local), staged in DESTDIR
	$(Q)install -D -m 755 $(B)/etherlua $(root)/bin/etherlua
	$(Q)install -D -m 644 $(B)/libetherlua.so $(root)/lib/libetherlua.so
	$(Q)cd lua && find etherlua -name '*.lua' -exec install -D -m 644 {} $(root)/share/lua/5.1/{} \;
	$(Q)find scripts -type f -exec install -D -m 644 {} $(root)/share/etherlua/{} \;
	$(Q)install -D -m 644 -t $(root)/share/man/man1 lua/etherlua.1
	$(Q)cd build/doc/luals && find . -type f -exec install -D -m 644 {} $(root)/share/etherlua/luals/{} \;
	$(Q)install -D -m 644 -t $(root)/share/doc/etherlua build/doc/*.html

uninstall: ## remove what install put there
	$(Q)rm -f $(root)/bin/etherlua $(root)/lib/libetherlua.so $(root)/share/man/man1/etherlua.1
	$(Q)rm -rf $(root)/share/lua/5.1/etherlua $(root)/share/etherlua $(root)/share/doc/etherlua

ARCH    = $(shell dpkg --print-architecture)
DEBROOT = $(B)/deb/etherlua

# Which packages the shared libraries are in, dpkg-shlibdeps knows; it insists on a debian/control.
deb: deps-deb ## a Debian package: build/etherlua_VERSION_ARCH.deb
	$(Q)rm -rf $(B)/deb && mkdir -p $(B)/deb/debian $(DEBROOT)/DEBIAN && touch $(B)/deb/debian/control
	$(Q)+$(submake) install DESTDIR=$(DEBROOT) PREFIX=/usr
	$(Q)strip --strip-unneeded $(DEBROOT)/usr/bin/etherlua $(DEBROOT)/usr/lib/libetherlua.so
	$(Q)gzip -9n $(DEBROOT)/usr/share/man/man1/*
	$(Q)install -D -m 644 LICENSE $(DEBROOT)/usr/share/doc/etherlua/copyright
	$(Q)cd $(B)/deb && needs=$$(dpkg-shlibdeps -O etherlua/usr/bin/etherlua etherlua/usr/lib/libetherlua.so) && \
		sed "s/@VERSION@/$(VERSION)/; s/@ARCH@/$(ARCH)/; s/@DEPENDS@/$${needs#*=}$(DEPS_RUN:%=, %)/; s/ ,/,/g" \
		$(CURDIR)/engine/package/control >etherlua/DEBIAN/control
	$(Q)dpkg-deb --root-owner-group --build $(DEBROOT) $(B)/etherlua_$(VERSION)_$(ARCH).deb

include engine/package/windows.mk

clean: ## remove build/
	$(Q)rm -rf build

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  \1|\2/p' $(MAKEFILE_LIST) | sort | awk -F'|' '{printf "%-12s %s\n", $$1, $$2}'
