-- program/dhcp4_option.lua: an option of DHCP as a command line gives it: "60=text", "43=0x0102", "lease_time=600",
-- "dns_servers=1.1.1.1,8.8.8.8", "121=10.0.0.0/8=10.0.0.1". Which options there are and what their values may be is
-- said by proto/dhcp4_options.lua.

local agent = require "etherlua.proto.dhcp4_relay_agent"
local bytes = require "etherlua.net.bytes"
local misuse = require "etherlua.core.misuse"
local options = require "etherlua.proto.dhcp4_options"

local M = {}

-- "0x0102" as bytes, anything else as it is.
local function literal(text)
  return text:sub(1, 2) == "0x" and bytes.unhex(text:sub(3)) or text
end

local function number(text)
  return tonumber(text) or text
end

local function ip(text, label)
  return bytes.ip4_at(bytes.ip(label, text, 4), 1)
end

local BOOLEANS = { ["false"] = false, ["true"] = true }

local function boolean(text, label)
  if BOOLEANS[text] == nil then misuse.raise("bad %s %q: true or false is needed", label, text) end
  return BOOLEANS[text]
end

local function split(text)
  local items = {}
  for item in (text .. ","):gmatch("(.-),") do items[#items + 1] = item end
  return items
end

local function list_of(read)
  return function(text, label)
    local list = split(text)
    for i, item in ipairs(list) do list[i] = read(item, label) end
    return list
  end
end

local function route(text, label)
  local prefix, router = text:match("^(.-)=(.*)$")
  if not prefix then misuse.raise("bad %s %q: PREFIX=ROUTER such as 10.0.0.0/8=10.0.0.1 is needed", label, text) end
  return { prefix = prefix, router = router }
end

local function static_route(text, label)
  local destination, router = text:match("^(.-)=(.*)$")
  if not destination then
    misuse.raise("bad %s %q: ADDRESS=ROUTER such as 192.168.5.0=10.0.0.1 is needed", label, text)
  end
  return { destination = destination, router = router }
end

local function relay_agent(text, label)
  local values = {}
  for _, item in ipairs(split(text)) do
    local key, value = item:match("^(.-)=(.*)$")
    if not (agent.SUB_CODES[key] or tonumber(key)) then
      misuse.raise("bad %s %q: circuit_id=TEXT, remote_id=TEXT or CODE=TEXT is needed", label, item)
    end
    values[agent.SUB_NAMES[tonumber(key)] or tonumber(key) or key] = literal(value)
  end
  return values
end

-- Kind of option -> function from the text, and a label that names the option in errors, to its value.
local READERS = {
  u8 = number, u16 = number, u32 = number, i32 = number, raw = literal, text = literal, ip = ip, boolean = boolean,
  flag = boolean, ips = list_of(ip), u16s = list_of(number), routes = list_of(route),
  static_routes = list_of(static_route), relay_agent = relay_agent,
  codes = list_of(function(text) return options.codes[text] or number(text) end),
  message_type = function(text) return tonumber(text) or text:upper() end,
}

-- Where a text in hex is a value, or the bytes of one; of all other options it is the raw bytes.
local HEX = { u8 = true, u16 = true, u32 = true, i32 = true, raw = true, text = true, message_type = true }

-- A key and value for the table of options.
---@param code_or_name string|integer "60", 60 or "vendor_class"
---@param text string value; hex such as 0x0102 is raw bytes for any option but a number
---@return string|integer key
---@return any value raises an error that says what is allowed
function M.read(code_or_name, text)
  local code = options.code_of(tonumber(code_or_name) or code_or_name)
  local name, kind = options.kind_of(code)
  if not name or text:sub(1, 2) == "0x" and not HEX[kind] then return code, literal(text) end
  local value = READERS[kind](text, "DHCP option " .. name)
  local _, raw = options.encode(name, value)
  if kind == "message_type" then return options.decode(code, raw) end -- its name, if it was a number
  return name, value
end

local function read_pair(text)
  local name, value = text:match("^([^=]+)=(.*)$")
  if not name then misuse.raise("bad option %q: NAME=VALUE or CODE=VALUE is needed", text) end
  return M.read(name, value)
end

-- As an option parser's convert() wants it.
---@param text string "60=text"
---@return table|nil pair { key, value }
---@return string|nil reason
function M.convert(text)
  local ok, key, typed = pcall(read_pair, text)
  if not ok then return nil, misuse.words(key) end
  return { key, typed }
end

return M
