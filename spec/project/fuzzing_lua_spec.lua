-- The fuzz targets in Lua: that they find what is wrong, in a copy of the sources in which something is, that a seed
-- repeats what they do, and that they find nothing here.

local files = require "support.files"
local shell = require "support.shell"

local SANITIZER = os.getenv "SANITIZER"
local LIBRARY = os.getenv "ETHERLUA_LIB" or shell.output_of("pwd"):match "%S+" .. "/build/libetherlua.so"
local ENV = ("env ETHERLUA_LIB=%s %s "):format(LIBRARY, SANITIZER and
  ("ASAN_OPTIONS=detect_leaks=0 LD_PRELOAD=%s"):format(SANITIZER) or "")

local folder

before_each(function() folder = shell.output_of("mktemp -d"):match "%S+" end)
after_each(function() os.execute("rm -r " .. folder) end)

-- Runs a command in the folder.
local function run(...)
  return shell.run(("cd %s && %s"):format(folder, ENV .. string.format(...)))
end

local function copy_sources()
  shell.output_of(("cp -r lua spec %s && mkdir %s/build"):format(folder, folder))
end

-- A protocol like Wake-on-LAN in the manual, but for one of its functions.
local PLANTED = [[
local schema = require "etherlua.proto.schema"
local M = { fields = schema.new("planted", { "mark", "payload" }) }
function M.parse(text)
  if #text < 2 then return nil, "planted: too short" end
  return { mark = text:byte(), payload = text:sub(2) }
end
function M.build(fields)
  M.fields:check(fields)
  return string.char(fields.mark) .. fields.payload
end
function M.describe(fields) return "planted " .. fields.mark end
-- fault
return M
]]

-- name: of a protocol that is added to the copy, with what is wrong with it.
local function plant(name, fault)
  local text = PLANTED:gsub("planted", name):gsub("%-%- fault", (fault:gsub("%%", "%%%%")))
  files.write(("%s/lua/etherlua/proto/%s.lua"):format(folder, name), text)
end

-- By the name of the protocol: what is planted, and what is found.
local FAULTS = {
  raises = { "local parse = M.parse function M.parse(t) return parse(t .. (#t > 3 and {} or '')) end",
    "raises.parse raises .*attempt to concatenate" },
  silent = { "function M.parse() end", "the reason of silent is no text but a nil" },
  misnamed = { "function M.parse() return nil, 'wol: no' end", 'the reason does not begin with "misnamed": wol: no' },
  unknown = { "local p = M.parse function M.parse(t) local f, r = p(t) if f then f.frob = 1 end return f, r end",
    'the fields of unknown raises .*unknown field "frob"' },
  forgetful = { "function M.build(f) return string.char(f.mark) .. f.payload:gsub('%d', 'x') end",
    "forgetful builds other bytes than it read" },
  refusing = { "function M.build() return '' end", "refusing refuses what it built: refusing: too" },
  blinking = { "function M.describe(f) return 'blinking ' .. f.payload end",
    "what describes blinking is no printable line" },
  endless = { "local parse = M.parse function M.parse(t) while #t > 3 do end return parse(t) end",
    "endless.parse raises it takes more than %d+ instructions" },
}

describe("the fuzz target codec", function()
  it("finds protocols by their files, what is wrong with each, and tells how to see it again", function()
    copy_sources()
    for name, case in pairs(FAULTS) do plant(name, case[1]) end
    local text, status = run "SEED=1 EXECUTIONS=4000 luajit spec/fuzz/codec.lua build 60"
    assert.equal(1, status, text)
    for _, case in pairs(FAULTS) do assert.matches("found: " .. case[2], text) end
    local again, status_again = run("%s", text:match "found: the reason of silent[^\n]+\n  again: ([^\n]+)\n")
    assert.same({ "found: the reason of silent is no text but a nil\n", 1 }, { again, status_again })
  end)

  it("finds what grows faster than its input", function()
    copy_sources()
    plant("slow", "local parse = M.parse "
      .. "function M.parse(t) for i = 1, #t do for _ = 1, i, 8 do end end return parse(t) end")
    files.write(folder .. "/input", "growth slow\nsome octets")
    local text, status = run "luajit spec/fuzz/codec.lua input"
    assert.equal(1, status, text)
    assert.matches("found: [%w. ]+ takes %d+ instructions and %d+ bytes for 16%d+ octets", text)
  end)

  it("finds an error about a text that is none of misuse, or more than a line", function()
    copy_sources()
    local path = folder .. "/lua/etherlua/net/rate.lua"
    local text = files.read_all(path)
    files.write(path, (text:gsub("function M.new%(text%)", "%0 if #text < 5 then error('a\\nb', 0) end"
      .. " if #text > 6 then text = nil + text end", 1)))
    text = run "SEED=1 EXECUTIONS=3000 luajit spec/fuzz/codec.lua build 60"
    assert.matches("found: rate.new raises what is no misuse: .*attempt to perform arithmetic", text)
    assert.matches("found: rate.new refuses in words that are no line", text)
  end)

  it("does the same for a seed, and finds nothing here", function()
    local outputs = {}
    for i = 1, 2 do
      local text, status = shell.run(ENV .. ("SEED=7 EXECUTIONS=1500 luajit spec/fuzz/codec.lua %s 60"):format(folder))
      assert.equal(0, status, text)
      outputs[i] = text
      if i == 1 then os.execute(("rm -r %s/corpus"):format(folder)) end
    end
    assert.equal("SEED=7\nstat::number_of_executed_units: 1500\n", outputs[1])
    assert.equal(outputs[1], outputs[2])
  end)
end)

-- A file of the copy with a text in place of another.
local function spoil(path, old, new)
  copy_sources()
  local text = files.read_all(folder .. "/" .. path)
  local from, to = text:find(old, 1, true)
  assert(from, path .. " has no " .. old)
  files.write(folder .. "/" .. path, text:sub(1, from - 1) .. new .. text:sub(to + 1))
end

-- Who is tried, what is spoiled, and what is found.
local SPOILED = {
  ["who does not end when it is closed"] = { "arping", "lua/etherlua/role/role.lua",
    "if self.runner then self.runner:cancel() end", "", "it was closed, but does not end within 5 s" },
  ["who uses an address that nobody acknowledged"] = { "dhcp4_client", "lua/etherlua/role/dhcp4_exchange.lua",
    "fields.op, fields.xid", "pcall(function() client.conn:udp('10.9.9.9:68'):send('x', '10.0.0.1:67') end) "
      .. "fields.op, fields.xid",
    "dhcp4_client uses 10.9.9.9, which nobody has acknowledged" },
  ["who leases an address to two at once"] = { "dhcp4_load", "lua/etherlua/role/dhcp4_server.lua",
    "local function acknowledge(self, message, binding)",
    "local function acknowledge(self, message, of) "
      .. "local binding = setmetatable({ ip = 0x0a00000a }, { __index = of })",
    "gateway leases 10.0.0.10 to two at once" },
  ["whose answers raise errors"] = { "dhcp4_client", "lua/etherlua/role/dhcp4_server.lua",
    "self.counters[name] = self.counters[name] + 1", "self.counters[name] = nil + 1",
    "an answer failed: .*attempt to perform arithmetic" },
  ["who raises an error"] = { "ping", "lua/etherlua/role/ping.lua", "local function hear_reply(self, frame)",
    "local function hear_reply(self, frame) self.heard = self.heard + 1", "attempt to perform arithmetic" },
  ["who sends wrong checksums"] = { "ping", "lua/etherlua/proto/ipv4.lua", "after, fields.header_checksum)",
    "after, fields.header_checksum or 1)", "sends a wrong checksum of ipv4" },
  ["whose summary does not add up"] = { "dhcp4_load", "lua/etherlua/role/dhcp4/load_summary.lua",
    "counts.clients - counts.bound", "counts.clients + 1 - counts.bound", "the summary does not add up to clients" },
  ["who keeps what is closed"] = { "udp_echo", "lua/etherlua/role/udp_echo.lua", "local opts = OPTIONS:read(given)",
    "local opts = OPTIONS:read(given) ECHOES = ECHOES or {} ECHOES[#ECHOES + 1] = host",
    "objects of the engine are left" },
}

describe("the fuzz target role", function()
  it("does the same for a seed, and finds nothing here", function()
    local outputs = {}
    for i = 1, 2 do
      local text, status = shell.run(ENV .. ("SEED=7 EXECUTIONS=36 luajit spec/fuzz/role.lua %s 60"):format(folder))
      assert.equal(0, status, text)
      outputs[i] = text
    end
    assert.matches("^SEED=7\nepisodes: .+\nstat::number_of_executed_units: 36\n$", outputs[1])
    assert.equal(outputs[1], outputs[2])
  end)

  it("tries every role that there is, found by its file", function()
    local text = shell.run(ENV .. ("SEED=7 EXECUTIONS=19 luajit spec/fuzz/role.lua %s 60"):format(folder))
    for name in pairs(require("support.roles").busy) do assert.truthy(text:find(name .. " 1"), name) end
  end)

  for what, case in pairs(SPOILED) do
    it("finds one " .. what .. ", and tells how to see it again", function()
      local name, path, old, new, found = unpack(case)
      spoil(path, old, new)
      local text, status = run("SEED=1 EXECUTIONS=32 ROLE=%s luajit spec/fuzz/role.lua build 60", name)
      assert.equal(1, status, text)
      assert.matches("found: [^\n]*" .. found, text)
      if found:find "left" then return end -- by one alone it cannot be told
      text, status = run("%s", text:match "again: (luajit spec/fuzz/role.lua build/findings/role%-%x+)\n")
      assert.equal(1, status)
      assert.matches("found: .*" .. found, text)
    end)
  end
end)

describe("make fuzz", function()
  it("prints how often a target in Lua ran, in processes with seeds of their own", function()
    local text, status = shell.run(ENV .. ("SEED=3 EXECUTIONS=40 luajit spec/fuzz/run.lua %s 2 2 codec"):format(folder))
    assert.equal(0, status, text)
    assert.matches("^codec +80 executions in +2 s  0 findings\n$", text)
    assert.matches("SEED=3\n.*SEED=1000003\n", files.read_all(folder .. "/codec.log"))
  end)

  it("ends with status 1 for what a target in Lua found, and tells how to see it again", function()
    copy_sources()
    plant("silent", FAULTS.silent[1])
    local text, status = run "SEED=1 EXECUTIONS=1200 luajit spec/fuzz/run.lua build 2 1 codec"
    assert.equal(1, status, text)
    assert.matches("1 findings\nfound: the reason of silent .*\n  again: luajit spec/fuzz/codec.lua build/find", text)
  end)

  it("keeps what was executed when a process died", function()
    copy_sources()
    plant("deadly", "function M.parse() os.exit(7) end")
    local text, status = run "SEED=1 luajit spec/fuzz/run.lua build 2 1 codec"
    assert.equal(1, status, text)
    assert.matches("found: it did not end\n  again: luajit spec/fuzz/codec.lua build/findings/codec%-unfin", text)
    assert.equal(7, select(2, run "luajit spec/fuzz/codec.lua build/findings/codec-unfinished-1"))
  end)
end)
