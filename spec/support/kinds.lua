-- kinds.lua: the relay kinds, so that one suite of specs runs over all of them. A new kind is one entry in M.list.
--
--      kinds.each("an EtherConn", function(it, kind)
--        it("receives ...", function(a, b) ... end)              -- a task; a and b are relays that hear each other
--        it("drops ...", { frames = 128 }, function(a, b) ... end) -- opened with these options
--      end)
--
-- Where the environment names NICs (nic_lab.lua), kinds that are opened on an interface use these, and are alone. A
-- test with the option `veth`, the reason why it needs a veth pair, is pending there.

local clock = require "support.clock"
local ether = require "etherlua"
local frames = require "support.frames"
local lab = require "etherlua.lab.lab"
local leaks = require "support.leaks"
local nic_lab = require "support.nic_lab"
local sched = require "etherlua.core.sched"

local M = {}

-- ---- labs -----------------------------------------------------------------------------------------------------------

local labs = {} -- MTU -> lab that the specs of one file share

function M.close_labs()
  for _, one in pairs(labs) do one:close() end
  labs = {}
end

-- As lab.new.
M.new_lab = nic_lab.given and function(opts)
  M.close_labs() -- a NIC is in one lab at a time
  return nic_lab.new(opts)
end or lab.new

local function lab_for(mtu)
  local one = labs[mtu] or M.new_lab { mtu = mtu }
  labs[mtu] = one
  return one
end

-- ---- the kinds ------------------------------------------------------------------------------------------------------

-- No filter unless a spec asks for one; `false` asks for the kind's default. more: options of the kind.
local function relay_opts(given, more)
  local opts = {}
  for name, value in pairs(given) do opts[name] = value end
  for name, value in pairs(more or {}) do opts[name] = value end
  if opts.filter == nil then opts.filter = "" end
  opts.filter = opts.filter or nil
  return opts
end

local function open_wire(given)
  return ether.wire(relay_opts(given))
end

-- The header of a pcap file of Ethernet frames with nanoseconds (draft-ietf-opsawg-pcap), as a relay writes it.
local NO_FRAMES = "\77\60\178\161\2\0\4\0\0\0\0\0\0\0\0\0\0\0\4\0\1\0\0\0"

local function empty_pcap(path)
  local file = assert(io.open(path, "wb"))
  file:write(NO_FRAMES)
  file:close()
end

-- Two relays that follow each other's output; the first alone captures. The files go when the run ends.
local function open_files(given)
  local ab, ba = os.tmpname(), os.tmpname()
  sched.close_at_end { close = function() os.remove(ab) os.remove(ba) end }
  empty_pcap(ba)
  local opts = relay_opts(given, { mtu = given.mtu or 1500, follow = true, output = ab })
  local a = ether.open("file:" .. ba, opts)
  opts.output, opts.capture = ba, nil
  return a, ether.open("file:" .. ab, opts)
end

local function native_possible()
  if nic_lab.native then return lab.root() end
  return false, "the NIC's driver runs no XDP programs"
end

local FENCES, FENCE_WAIT = 8, 1 -- frames: each may have another queue; seconds

-- Returns when what was sent before has arrived.
local function wait_behind(from, to)
  local sender, heard = from:conn { mac = frames.MAC_A }, to:conn { mac = frames.BROADCAST }
  for i = 1, FENCES do sender:send(frames.udp { src_port = i }, frames.BROADCAST) end
  for _ = 1, FENCES do
    if not heard:recv(FENCE_WAIT) then break end
  end
end

-- Between NICs what a test sent last may still be on its way when the next one begins.
local function let_arrive(one)
  local opts = { promiscuous = false }
  local near, far = one.near:enter(ether.open, "afpacket:eth0", opts), one.far:enter(ether.open, "afpacket:eth0", opts)
  wait_behind(near, far)
  wait_behind(far, near)
  near:close()
  far:close()
end

-- For kinds that are bound to an interface: the relays are at the two ends of a veth pair.
local function veth_kind(kind)
  kind.possible = kind.opts and kind.opts.mode == "native" and native_possible or lab.root
  kind.interface, kind.spec = true, kind.name:match("%w+")
  function kind.lab(given) return lab_for(given.mtu or 1500) end
  function kind.open(given)
    local opts, one = relay_opts(given, kind.opts), kind.lab(given)
    opts.mtu = nil
    if nic_lab.given then let_arrive(one) end
    return one.near:enter(ether.open, kind.spec .. ":eth0", opts), one.far:enter(ether.open, kind.spec .. ":eth0", opts)
  end
  return kind
end

local function anywhere() return true end

-- open(opts) returns two relays; possible() says why it would not work. `interface`: opened by the name of one, with
-- opts. Wire and file have none: no link that goes down, no interface that is deleted or that has a MAC address and an
-- MTU of its own; the suites about these leave them out.
-- `steers`: frames for nobody stay the kernel's. `xdp`: it has AF_XDP sockets. lab(opts): the lab that those with an
-- interface are opened in.
M.list = {
  { name = "wire", open = open_wire, possible = anywhere },
  { name = "file", open = open_files, possible = anywhere },
  veth_kind { name = "afpacket" },
  veth_kind { name = "pcap" },
  veth_kind { name = "xdp", opts = { mode = "native" }, xdp = true, steers = true },
  veth_kind { name = "xdp in generic mode", opts = { mode = "generic" }, xdp = true, steers = true },
}

if nic_lab.zero_copy then
  table.insert(M.list, veth_kind { name = "xdp with zero copy", opts = { mode = "native", copy = "zerocopy" },
    xdp = true, steers = true })
end

-- On Windows both ends of a link are interfaces of the machine, named by its MTU: spec/windows/run.sh makes them.
if jit.os == "Windows" then
  local function open_ends(given)
    local opts, name = relay_opts(given), "pcap:mtu" .. (given.mtu or 1500)
    opts.mtu = nil
    local a = ether.open(name .. "a", opts)
    opts.capture = nil -- the first sees everything
    return a, ether.open(name .. "b", opts)
  end
  M.list = { M.list[1], M.list[2], { name = "pcap", interface = true, open = open_ends, possible = anywhere } }
end

-- What each() tries besides. What the kernel keeps away from it is counted nowhere.
local SHARED = veth_kind { name = "afpacket that is shared", opts = { shared = true }, steers = true }

local function with_interface()
  local list = {}
  for _, kind in ipairs(M.list) do
    if kind.lab then list[#list + 1] = kind end
  end
  return list
end

if nic_lab.given then M.list = with_interface() end

-- ---- running --------------------------------------------------------------------------------------------------------

-- ether.run, but a failed assertion reaches busted as it is, and ends tasks that still wait.
---@param fn function
function M.run(fn, ...)
  local ok, failure = true, nil
  ether.run(function(...)
    ok, failure = pcall(fn, ...)
    if not ok then sched.cancel_all() end
  end, ...)
  if not ok then error(failure, 0) end
end

-- The same for what talks to nobody outside this process: time goes by only where somebody waits for it, so it does the
-- same however slow the machine is.
---@param fn function
function M.run_apart(fn, ...)
  clock.stand_still(M.run, fn, ...)
end

-- What goes to busted's `it`: fn as a task, with what set_up(given) returns, where the kind can be had.
local function task_test(words, kind, given, fn, set_up)
  local veth, opts = given.veth, {}
  for name, value in pairs(given) do opts[name] = name ~= "veth" and value or nil end
  return function()
    local possible, reason = kind.possible()
    if not possible then return words.pending(reason) end
    if veth and nic_lab.given then return words.pending("needs a veth pair: " .. veth) end
    local run = kind.interface and M.run or M.run_apart
    run(function() fn(set_up(opts, words.finally)) end)
  end
end

-- busted's words are globals of the spec file that it loads, and of no module: `words` is its environment.
local function suite(words, list, noun, define, set_up)
  for _, kind in ipairs(list) do
    words.describe(("%s over %s"):format(noun, kind.name), function()
      words.after_each(leaks.check)
      words.teardown(M.close_labs)
      define(function(name, given, fn)
        if not fn then given, fn = {}, given end
        words.it(name, task_test(words, kind, given, fn, set_up(kind)))
      end, kind)
    end)
  end
end

-- One suite for all kinds: see above.
---@param noun string what the sentences are about
---@param define fun(it: function, kind: table)
function M.each(noun, define)
  local list = { unpack(M.list) }
  if not nic_lab.given and jit.os ~= "Windows" then list[#list + 1] = SHARED end
  suite(getfenv(2), list, noun, define, function(kind) return kind.open end)
end

-- The same for the kinds that are opened on an interface. Here fn gets a lab of its own, made with the options, and a
-- function that opens a relay: open(namespace, opts), on its eth0 unless opts.on names another.
---@param noun string
---@param define fun(it: function, kind: table)
function M.each_with_interface(noun, define)
  suite(getfenv(2), with_interface(), noun, define, function(kind)
    return function(given, finally)
      local one = M.new_lab(given)
      finally(function() one:close() end)
      return one, function(ns, opts)
        opts = relay_opts(opts or {}, kind.opts)
        local on = opts.on or "eth0"
        opts.on = nil
        return ns:enter(ether.open, kind.spec .. ":" .. on, opts)
      end
    end
  end)
end

return M
