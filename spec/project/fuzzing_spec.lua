-- `make fuzz` itself, on targets made for it: what it prints, how it ends, and what it keeps.

local shell = require "support.shell"

local RUN = "%s luajit spec/fuzz/run.lua %s 3 1 %s"
local SANITIZER = os.getenv "SANITIZER"
-- The library that the seeds are made with may need the sanitizer, which then looks at shells, too.
local LENIENT = SANITIZER and ("env ASAN_OPTIONS=detect_leaks=0 LD_PRELOAD=%s "):format(SANITIZER) or "env "
local AS_USER = "env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS -u SANITIZER -u LD_PRELOAD "

local folder

before_each(function() folder = shell.output_of("mktemp -d"):match "%S+" end)
after_each(function() os.execute("rm -r " .. folder) end)

local function write(path, text)
  assert(os.execute(("mkdir -p $(dirname %s/%s)"):format(folder, path)) == 0)
  local file = assert(io.open(folder .. "/" .. path, "w"))
  file:write("#!/bin/sh\n", text, "\n")
  file:close()
  os.execute(("chmod +x %s/%s"):format(folder, path))
end

local CLEAN_TARGET = "echo stat::number_of_executed_units: 42"
-- Keeps its input where libFuzzer does.
local BROKEN_TARGET = [[
for word; do case $word in -artifact_prefix=*) echo input >"${word#*=}crash-1" ;; esac; done
echo "broken.c:1: Assertion 'right' failed."
echo stat::number_of_executed_units: 7
exit 77]]

describe("fuzzing", function()
  it("prints how often each target ran, and ends with status 0 when nothing was found", function()
    write("target/ingress", CLEAN_TARGET)
    write("target/send", CLEAN_TARGET)
    local text, status = shell.run(RUN:format(LENIENT, folder, "ingress send"))
    assert.equal(0, status, text)
    assert.matches("ingress +42 executions in +1 s  0 findings\nsend +42 executions", text)
  end)

  it("ends with status 1 for a finding, tells it and where its input is kept, and runs the other targets", function()
    write("target/file", BROKEN_TARGET)
    write("target/send", CLEAN_TARGET)
    local text, status = shell.run(RUN:format(LENIENT, folder, "file send"))
    assert.equal(1, status)
    assert.matches("file +7 executions in +1 s  1 findings\n", text)
    local kept = folder .. "/findings/file-crash-1"
    assert.truthy(text:find("Assertion 'right' failed.\n  input: " .. kept .. "\n", 1, true), text)
    assert.matches("\nsend +42 executions", text)
    assert.equal("input\n", shell.output_of("cat " .. kept))
  end)

  it("begins with inputs for each target, and with capture files that are named", function()
    write("target/file", "for word; do last=$word; done; ls $last | wc -l >$0.count")
    local function seeds(captures)
      local text, status = shell.run(RUN:format(LENIENT .. captures, folder, "file"))
      assert.equal(0, status, text)
      return tonumber((shell.output_of(("cat %s/target/file.count"):format(folder))))
    end
    local own = seeds ""
    assert.is_true(own > 50)
    assert.is_true(seeds(("CAPTURES=%s/seeds/one.pcap"):format(folder)) == own) -- there is no such file
    os.execute(("tail -c +5 %s/seeds/file/seed-001 >%s/one.pcap"):format(folder, folder))
    assert.is_true(seeds(("CAPTURES=%s/one.pcap"):format(folder)) > own)
  end)

  it("is skipped in C, with the reason, where clang has no libFuzzer, and not in Lua", function()
    write("bin/clang", ([[case "$*" in *=fuzzer*) echo 'cannot find libclang_rt.fuzzer' >&2; exit 1 ;; esac
      exec %s "$@"]]):format(shell.output_of("command -v clang"):match "%S+"))
    local make = ("%s PATH=%s/bin:$PATH make --no-print-directory fuzz"):format(AS_USER, folder)
    local text, status = shell.run(make .. ' FUZZ="ingress file"')
    assert.equal(0, status, text)
    assert.matches("skipped: clang cannot build with libFuzzer: cannot find libclang_rt.fuzzer\n$", text)
    text, status = shell.run(make .. ' FUZZ="file codec" SECONDS=1 EXECUTIONS=10')
    assert.equal(0, status, text)
    assert.matches("skipped: clang cannot .-\ncodec +10 executions in +1 s  0 findings\n$", text)
  end)
end)
