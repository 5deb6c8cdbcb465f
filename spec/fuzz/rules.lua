-- rules.lua: what holds for every protocol and every frame, whatever its bytes are. Each rule is one of the project's
-- own: the contract at the top of proto/init.lua, invariants 8 to 10 of the design, and what proto/view.lua,
-- proto/match.lua, proto/packet.lua and program/json.lua say of themselves. An error that is raised breaks a rule, too.

local answers = require "etherlua.proto.answers"
local arp_fast = require "etherlua.proto.arp_fast"
local cjson = require "cjson"
local dhcp4_fast = require "etherlua.proto.dhcp4_fast"
local ffi = require "ffi"
local json = require "etherlua.program.json"
local match = require "etherlua.proto.match"
local outside = require "etherlua.core.outside"
local packet = require "etherlua.proto.packet"
local proto = require "etherlua.proto"
local same = require("support.proto").same
local view = require "etherlua.proto.view"

local M = {}

-- Of the layer around: for a checksum that was cut off.
local CONTEXT = { src = "10.0.0.1", dst = "10.0.0.2", protocol = 17 }

local QUOTED_LEAST = 8 -- octets of what IP carries, in an ICMP error (RFC 792)

local doing -- what is tried now, for the words of an error

-- A rule is broken: raises what broken() catches.
---@param ... any as for string.format
local function fail(...)
  error({ reason = string.format(...) }, 0)
end
M.fail = fail

local function check_line(text, what)
  if type(text) ~= "string" then fail("%s is no text but a %s", what, type(text)) end
  if outside.shown(text) ~= text then fail("%s is no printable line: %q", what, text) end
end

local function check_lines(text, what)
  if outside.lines(text) ~= text or text:find "\t" then fail("%s is not printable: %q", what, text) end
end

local function check_type(value, kind, what)
  if type(value) ~= kind then fail("%s is a %s, no %s", what, type(value), kind) end
end

-- ---- one protocol -------------------------------------------------------------------------------------------------

local function check_reason(name, reason)
  check_line(reason, "the reason of " .. name)
  if reason:sub(1, #name + 2) ~= name .. ": " then fail("the reason does not begin with %q: %s", name, reason) end
end

local function check_child(name, module, fields)
  if not module.child then return end
  local child, note = module.child(fields)
  if child ~= nil and not proto.find(child) then fail("%s has a child %q that is no protocol", name, child) end
  if note ~= nil then check_line(note, "the note of " .. name) end
end

local function check_answers(module, fields)
  if module.turn then module.fields:check(module.turn(fields, "02:00:00:00:00:0c")) end
  if module.answers then check_type(module.answers(fields, fields), "boolean", "what answers() says") end
  if module.exchange then module.exchange(fields, false) module.exchange(fields, true) end
  if module.is_error then check_type(module.is_error(fields), "boolean", "what is_error() says") end
  if module.carrier then module.carrier(fields) end
end

-- Bytes that one protocol reads, which an ICMP error may have cut off: what it says of them, and what it builds of
-- that.
---@param name string
---@param text string
---@param quoted boolean
function M.protocol(name, text, quoted)
  local module = proto[name]
  doing = name .. ".parse"
  local fields, reason = module.parse(text, quoted)
  if not fields then return check_reason(name, reason) end
  doing = "the fields of " .. name
  module.fields:check(fields)
  doing = name .. ".describe"
  check_line(module.describe(fields), "what describes " .. name)
  if module.details then check_line(module.details(fields), "the details of " .. name) end
  doing = "the rules of " .. name
  check_child(name, module, fields)
  check_answers(module, fields)
  doing = name .. ".build"
  local built = module.build(fields, CONTEXT)
  if quoted and #built > #text then -- of a header that was cut off only the first octets are read
    if built:sub(1, QUOTED_LEAST) ~= text:sub(1, QUOTED_LEAST) then fail("%s builds another beginning", name) end
    return
  end
  if built ~= text:sub(1, #built) then fail("%s builds other bytes than it read", name) end
  local again, why = module.parse(built, quoted)
  if not again then fail("%s refuses what it built: %s", name, why) end
  if not same(fields, again) then fail("%s reads other fields in what it built", name) end
end

-- ---- readers without a table --------------------------------------------------------------------------------------

-- Memory that ends where the bytes do.
local function memory_of(text)
  local memory = ffi.new("uint8_t[?]", math.max(#text, 1))
  ffi.copy(memory, text, #text)
  return memory
end

local reply, fast_packet = dhcp4_fast.reply(), arp_fast.packet()

-- The fast readers say what the whole parsers say, and nothing where these refuse.
---@param text string
function M.fast(text)
  doing = "dhcp4_fast.parse"
  local memory, slow = memory_of(text), proto.dhcp4.parse(text)
  local is_one = dhcp4_fast.parse(memory, #text, reply)
  if is_one ~= (slow ~= nil and slow.hlen == 6) then fail("dhcp4_fast and dhcp4 are at odds about a message") end
  if is_one and reply.yiaddr ~= dhcp4_fast.ip4(slow.yiaddr) then fail("dhcp4_fast reads another yiaddr") end
  if is_one and slow.options.server_id and reply.server_id ~= dhcp4_fast.ip4(slow.options.server_id) then
    fail("dhcp4_fast reads another server")
  end
  if not is_one then check_line(dhcp4_fast.fault(memory, #text), "the fault that dhcp4_fast tells") end
  doing = "arp_fast.parse"
  if not arp_fast.parse(memory, #text, fast_packet) then return end
  local arp = proto.arp.parse(text)
  if not arp or arp.op ~= fast_packet.op then fail("arp_fast and arp are at odds about a packet") end
end

-- ---- a frame ------------------------------------------------------------------------------------------------------

local function check_view(text, first)
  doing = "view.describe"
  check_lines(view.describe(text, first), "the whole description")
  local at = 0
  for _, layer in ipairs(view.layers(text, first)) do
    if layer.from ~= at or layer.to < at then fail("%s begins at %d, not at %d", layer.name, layer.from, at) end
    at = layer.to
  end
  if at ~= #text then fail("the layers end at %d of %d octets", at, #text) end
end

local function check_json(layers)
  doing = "json.encode"
  local text = json.encode(layers)
  if text:find "%c" then fail("JSON has a control character") end
  if outside.utf8(text) ~= text then fail("JSON is no UTF-8") end
  cjson.decode(text)
end

local function check_packet(text, first)
  doing = "packet.parse"
  local one = packet.parse(text, first)
  if one:build() ~= text then fail("the packet builds other bytes than it was read from") end
  check_line(one:summary(), "the packet's summary")
  check_lines(one:describe(), "the packet's description")
  doing = "packet code"
  local code = one:code()
  if code:find "[^\n\32-\126]" then fail("the packet's code is not printable: %q", code) end
  local chunk, why = loadstring(code)
  if not chunk then fail("the packet's code is no Lua: %s", why) end
  if chunk():build() ~= text then fail("the packet's code makes another packet") end
end

local function check_checksums(layers)
  for i, layer in ipairs(layers) do
    local module = rawget(proto, layer.name)
    if module and module.checksum_ok and layers[i - 1] then
      doing = layer.name .. ".checksum_ok"
      check_type(module.checksum_ok(layers[i - 1].fields.payload, layers[i - 1].fields), "boolean", "checksum_ok()")
    end
  end
end

-- A packet as the answer to itself, and the texts that it is found by.
local function check_exchange(layers)
  doing = "answers"
  check_type(answers.answers(layers, layers), "boolean", "whether a packet answers itself")
  for _, keys in ipairs { answers.request_keys(layers), answers.reply_keys(layers) } do
    for _, key in pairs(keys) do check_type(key, "string", "a key of a packet") end
  end
end

-- ---- patterns -----------------------------------------------------------------------------------------------------

local function copy_of(fields)
  local copy = {}
  for name, value in pairs(fields) do copy[name] = value end
  return copy
end

local function other_value(value)
  if type(value) == "number" then return value + 1 end
  if type(value) == "boolean" then return not value end
  if type(value) == "string" then return value .. "x" end
end

-- A pattern with all fields of a layer matches; with one changed it does not, and tells so in a line.
local function check_pattern(decoded, layer)
  local fields = decoded[layer.name]
  doing = "a pattern of " .. layer.name
  local difference = match.difference({ [layer.name] = fields }, decoded)
  if difference then fail("the fields of %s do not match themselves: %s", layer.name, difference) end
  for name, value in pairs(fields) do
    local changed = copy_of(fields)
    changed[name] = other_value(value)
    if changed[name] ~= nil and changed[name] ~= value then
      difference = match.difference({ [layer.name] = changed }, decoded)
      if not difference then fail("a pattern with another %s of %s matches", name, layer.name) end
      check_line(difference, "the difference")
    end
  end
end

local function check_patterns(text)
  doing = "match.decode"
  local decoded = match.decode(text)
  check_line(decoded.line, "the line of a decoded frame")
  for _, layer in ipairs(decoded.layers) do check_pattern(decoded, layer) end
end

-- ---- all of it ----------------------------------------------------------------------------------------------------

-- A frame, or a packet that begins with another protocol: everything that reads or shows one.
---@param first string name of the first layer
---@param text string
---@return table[] layers
function M.frame(first, text)
  doing = "dissect"
  local layers = proto.dissect(text, first)
  doing = "describe"
  check_line(proto.describe_layers(layers), "what describes the frame")
  check_checksums(layers)
  check_exchange(layers)
  check_view(text, first)
  check_json(layers)
  check_packet(text, first)
  if first == "ethernet" then check_patterns(text) end
  return layers
end

-- Which rule fn(...) breaks; nil: none.
---@param fn function of this file
---@param ... any
---@return string? reason
function M.broken(fn, ...)
  doing = "it"
  local ok, failure = pcall(fn, ...)
  if ok then return nil end
  return type(failure) == "table" and failure.reason or ("%s raises %s"):format(doing, tostring(failure))
end

return M
