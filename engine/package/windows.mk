# windows.mk: `make windows`: etherlua.exe, with all inside of it that Windows has not, by Debian's gcc for Windows. A
# file in engine/os/windows/ stands in the place of the one that has its name elsewhere in engine/.

W           := build/windows
WIN_CROSS   := x86_64-w64-mingw32-
WIN_CC      := $(WIN_CROSS)gcc
WIN_WITHOUT := embedded.c terminal.c line_history.c
WIN_OWN     := $(wildcard engine/os/windows/*.c)
WIN_SOURCES := $(WIN_OWN) $(foreach f,$(wildcard engine/*.c engine/program/*.c) engine/kinds/file.c engine/kinds/wire.c, \
	$(if $(filter $(notdir $(f)),$(WIN_WITHOUT) $(notdir $(WIN_OWN))),,$(f)))
WIN_OBJECTS := $(WIN_SOURCES:engine/%.c=$(W)/%.o)
WIN_ARGS    := -std=gnu11 -O2 -g -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -D_WIN32_WINNT=0x0A00 -DWIN32_LEAN_AND_MEAN \
	-DPCAP_STATIC -Iengine/os/windows/include -Iengine -I$(W)/include $(WARN)
WIN_LIBS    := -L$(W)/lib -lcjson -lluajit -lpcap -lwinpthread -lws2_32 -liphlpapi -lbcrypt
WIN_ZIP      = $(W)/etherlua-$(VERSION)-win64.zip

DEPS_WINDOWS := gcc-mingw-w64-x86-64 dpkg-dev cmake flex bison zip

windows: deps-windows ## the program for Windows: build/windows/etherlua-VERSION-win64.zip
	@+$(submake) $(WIN_ZIP)

deps-windows: ## install what the program for Windows is made with
	$(call need,$(DEPS) $(DEPS_WINDOWS))

$(WIN_ZIP): $(W)/etherlua.exe README.md LICENSE
	$(call say,ZIP)
	$(Q)rm -f $@ && zip -q -j $@ $^

$(W)/lib/libcjson.a: engine/package/windows_libs.sh engine/package/sources.sh
	$(call say,LIB)
	$(Q)rm -rf $(W)/source $(W)/pcap && sh $< $(W)

$(W)/%.o: engine/%.c $(W)/lib/libcjson.a engine/package/windows.mk
	$(call say,CC)
	@mkdir -p $(@D)
	$(Q)$(WIN_CC) $(WIN_ARGS) -MMD -MP -c -o $@ $<

$(W)/abi.o: engine/abi.h

# ffi.C finds what the program exports, and so do modules in C.
$(W)/exports.def: engine/abi.h $(W)/lib/libcjson.a engine/package/windows.mk
	$(Q){ echo EXPORTS; echo el_abi_text DATA; grep -oE '\bel_[a-z0-9_]+\(' $< | tr -d '(' | sort -u; \
		$(WIN_CROSS)nm $(W)/lib/libluajit.a | sed -n 's/.* T \(lua.*\)/\1/p'; } >$@

$(W)/files.c: $(B)/portable/files.c
	@mkdir -p $(@D)
	$(Q)cp $< $@

$(W)/etherlua.exe: $(WIN_OBJECTS) $(W)/files.c $(W)/exports.def
	$(call say,LD)
	$(Q)$(WIN_CC) $(WIN_ARGS) -static -s -o $@ $^ $(WIN_LIBS) -Wl,--out-implib,$(W)/lib/libetherlua.dll.a

# ---- specs ----------------------------------------------------------------------------------------------------------

DEPS_TEST_WINDOWS := wine64

test-windows: deps-windows deps-test ## specs of the program for Windows, under wine (SHORT=1: some; TESTS=, ARGS= as above)
	$(call need,$(DEPS_TEST_WINDOWS))
	@+$(submake) windows $(W)/test/host.exe
	$(Q)ARGS='$(ARGS)' unshare --net sh spec/windows/run.sh $(W) '$(SHORT)' $(filter-out spec,$(TESTS))

# busted wants this module, in C; what else it wants is in spec/windows.
$(W)/test/lfs.o: engine/package/sources.sh
	$(call say,CC)
	@mkdir -p $(@D)
	$(Q)sh $< $(@D)/source lua-filesystem >$(@D)/source.log 2>&1 || { tail -n 5 $(@D)/source.log; exit 1; }
	$(Q)$(WIN_CC) -O2 -w -I$(W)/include -c -o $@ $(@D)/source/lua-filesystem-*/src/lfs.c

$(W)/test/host.exe: spec/windows/host.c $(W)/test/lfs.o $(filter-out %/main.o,$(WIN_OBJECTS)) $(W)/files.c $(W)/exports.def
	$(call say,LD)
	$(Q)$(WIN_CC) $(WIN_ARGS) -static -s -o $@ $^ $(WIN_LIBS)

-include $(WIN_OBJECTS:.o=.d)
