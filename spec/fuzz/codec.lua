-- codec.lua: the target for all that is read and shown in Lua: protocols, frames, patterns, texts of a command line. An
-- input is a line "KIND NAME" and the bytes behind it:
--
--   protocol udp, quoted icmp    what one protocol reads, also as an ICMP error quotes it: spec/fuzz/rules.lua
--   frame ethernet               all layers, from this one on: the same
--   text vlan_stack.new          what somebody typed: spec/fuzz/texts.lua
--   growth ethernet              a frame, or what a protocol reads, made long: spec/fuzz/growth.lua
--
-- Protocols are found by their files. Inputs are good packets of spec/support/packets.lua, and frames of captures that
-- spec/fuzz/captures.lua found, which are mutated. What is read as no other was before is kept, and mutated again: in
-- BUILD/corpus/codec for the next run. Instructions are counted, so the JIT is off.

package.path = "lua/?.lua;lua/?/init.lua;spec/?.lua;" .. package.path

local lines = require "fuzz.lines" -- first

local captures = require "fuzz.captures"
local files = require "support.files"
local growth = require "fuzz.growth"
local jit = require "jit"
local mutator = require "fuzz.mutator"
local packets = require "support.packets"
local proto = require "etherlua.proto"
local protocols = require "support.proto"
local rules = require "fuzz.rules"
local target = require "fuzz.target"
local texts = require "fuzz.texts"

local KEPT_MAX = 4000
local STEP = 1000
-- Instructions that an execution may take, and for each octet of the input. The dearest honest ones take a tenth.
local SOME, FOR_EACH = 2e6, 20000

local pool = {}       -- inputs to mutate: { kind =, name =, text = }
local by_kind = {}    -- the same by kind and name
local kinds = {}      -- these
local seen = {}       -- what was read so far
local corpus          -- folder
local kept = 0

local RULES = {
  protocol = function(name, text) return rules.protocol(name, text, false) end,
  quoted = function(name, text) return rules.protocol(name, text, true) end,
  fast = function(_, text) return rules.fast(text) end,
  frame = rules.frame,
  text = texts.check,
  growth = growth.check,
}

local function written(input)
  return ("%s %s\n%s"):format(input.kind, input.name, input.text)
end

-- What was noted of an execution that did not end has its length in front.
local function read(whole)
  local length, noted = whole:match "^(%d+)\n(.*)$"
  local kind, name, text = (length and noted:sub(1, tonumber(length)) or whole):match "^(%l+) ([^\n]+)\n(.*)$"
  if not RULES[kind] then error("no input of this target: its first line is KIND NAME", 0) end
  return { kind = kind, name = name, text = text }
end

-- ---- one execution ------------------------------------------------------------------------------------------------

-- Returns the rule that is broken, if one is.
local function execute(input)
  if lines.watching then return rules.broken(RULES[input.kind], input.name, input.text) end
  local steps, most = 0, SOME + FOR_EACH * #input.text
  debug.sethook(input.kind ~= "growth" and function()
    steps = steps + STEP
    if steps > most then error(("it takes more than %d instructions"):format(most), 0) end
  end or nil, "", STEP)
  local reason = rules.broken(RULES[input.kind], input.name, input.text)
  debug.sethook()
  if not reason and steps > most then reason = ("it takes more than %d instructions"):format(most) end
  return reason
end

-- ---- inputs -------------------------------------------------------------------------------------------------------

local function add(kind, name, text)
  local input, key = { kind = kind, name = name, text = text }, kind .. " " .. name
  pool[#pool + 1] = input
  if not by_kind[key] then
    by_kind[key] = {}
    kinds[#kinds + 1] = key
  end
  table.insert(by_kind[key], input)
end

-- What a packet was read as, without its numbers and addresses: the names of its layers, fields and options.
local function note_names(names, fields, depth)
  for name, value in pairs(fields) do
    if type(value) == "table" and depth > 0 then note_names(names, value, depth - 1) end
    names[#names + 1] = type(name) == "string" and name or "#"
  end
end

local function signature(first, text)
  local names = {}
  for _, layer in ipairs(proto.dissect(text, first)) do
    names[#names + 1] = "/" .. layer.name
    local fields = {}
    note_names(fields, layer.fields, 2)
    table.sort(fields)
    names[#names + 1] = table.concat(fields, ",", 1, math.min(#fields, 40))
    if layer.fields.reason then names[#names + 1] = layer.fields.reason:gsub("%d+", "N"):gsub(":.*:", ":") end
    if type(layer.fields.type) == "number" then names[#names + 1] = layer.fields.type % 256 end
  end
  return first .. table.concat(names, " ")
end

local function is_new(first, text)
  local key = signature(first, text)
  if seen[key] then return false end
  seen[key] = true
  return true
end

-- The frame, and what each of its protocols reads.
local function add_layers(first, text)
  add("frame", first, text)
  local rest = text
  for i, layer in ipairs(proto.dissect(text, first)) do
    if proto.ends[layer.name] then break end
    if i > 1 or first ~= "ethernet" then add("protocol", layer.name, rest) end
    rest = layer.fields.payload or ""
  end
end

local function add_own()
  for _, list in ipairs { packets.all(), packets.of_other_links() } do
    local names = {}
    for name in pairs(list) do names[#names + 1] = name end
    table.sort(names)
    for _, name in ipairs(names) do
      local text = list[name]:build()
      is_new(list[name][1].name, text)
      add_layers(list[name][1].name, text)
    end
  end
  for _, name in ipairs(protocols.names()) do
    add("protocol", name, "")
    add("quoted", name, "")
  end
end

local function prepare(build)
  jit.off()
  jit.flush()
  add_own()
  corpus = build .. "/corpus/codec"
  os.execute(("mkdir -p '%s'"):format(corpus))
  for first, text in captures.frames(build) do
    if is_new(first, text) then add_layers(first, text) end
  end
  local listing = assert(io.popen(("ls '%s'"):format(corpus)))
  for name in listing:lines() do
    local input = read(files.read_all(corpus .. "/" .. name))
    if input.kind == "frame" and is_new(input.name, input.text) then add("frame", input.name, input.text) end
    kept = kept + 1
  end
  listing:close()
end

-- A frame that is read as none was before is of interest.
local function look(input, draw)
  if kept >= KEPT_MAX or input.kind ~= "frame" or not is_new(input.name, input.text) then return end
  kept = kept + 1
  add("frame", input.name, input.text)
  local name, whole = ("%08x%08x"):format(draw:upto(2 ^ 31), draw:upto(2 ^ 31)), written(input)
  files.write(("%s/.%s"):format(corpus, name), whole) -- another process may read the corpus
  os.rename(("%s/.%s"):format(corpus, name), ("%s/%s"):format(corpus, name))
end

-- Half of the time every protocol is as likely as the others, however many inputs there are of it.
local function next_input(draw)
  if draw:once_in(5) then return { kind = "text", name = draw:pick(texts.names), text = "" } end
  local base, other = draw:pick(draw:once_in(2) and by_kind[draw:pick(kinds)] or pool), draw:pick(pool)
  local kind, name = base.kind, base.name
  if kind == "protocol" and draw:once_in(3) then kind = "quoted" end
  if draw:once_in(20) then kind, name = "fast", "readers" end
  if kind ~= "fast" and draw:once_in(200) then kind = "growth" end
  return { kind = kind, name = name, text = mutator.mutate(draw, base.text, other.text) }
end

local M = { name = "codec", prepare = prepare }

-- Every input as it is, once, while goes_on() says so.
function M.replay(goes_on)
  for _, name in ipairs(texts.names) do
    for i = 2, #texts.readers[name] do execute { kind = "text", name = name, text = texts.readers[name][i] } end
  end
  for _, input in ipairs(pool) do
    if not goes_on() then return end
    execute(input)
  end
end

function M.once(draw)
  local input = next_input(draw)
  if input.kind == "text" then input.text = texts.make(draw, input.name) end
  local whole = written(input)
  M.note:seek "set"
  M.note:write(#whole, "\n", whole)
  local reason = execute(input)
  if reason then return reason, whole end
  look(input, draw)
end

function M.again(whole)
  jit.off()
  jit.flush()
  return execute(read(whole))
end

target.main(M, arg)
