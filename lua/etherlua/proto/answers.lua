-- proto/answers.lua: whether one packet answers another, layer by layer. The rules are the protocols': what a module
-- exports for them is said at the top of proto/init.lua. Here are the rules of all that has IP addresses, and of ICMP
-- errors, which answer what they quote. Packets are layers from proto.dissect. Nothing remembers anything: one question
-- has one answer.

local ethernet = require "etherlua.proto.ethernet"
local proto = require "etherlua.proto"

local M = {}

local ANY = "*" -- in an index key: the request went to a group, so anybody may answer

-- The module of a layer; nil for bytes, which have no rules.
local function module_of(layer)
  return layer and not proto.ends[layer.name] and proto[layer.name] or nil
end

local function is_ip(module)
  return module ~= nil and module.UNSPECIFIED ~= nil
end

-- Whether the layer is an ICMP error, behind which there is what it is about.
local function is_error(layer)
  local module = module_of(layer)
  return module ~= nil and module.is_error ~= nil and module.is_error(layer.fields)
end

local function exchange_of(module, fields, is_reply)
  return module.exchange and module.exchange(fields, is_reply)
end

local function went_to_group(layers)
  return layers[1].name == "ethernet" and ethernet.is_group(layers[1].fields.dst)
end

-- ---- IP addresses -------------------------------------------------------------------------------------------------

-- To the address that asked; to anybody where it had none, and to a group where a group was asked (RFC 4861 section
-- 6.2.6, RFC 6762 section 6).
local function reaches(module, reply, request, to_group)
  return reply.dst == request.src or request.src == module.UNSPECIFIED or to_group and module.is_group(reply.dst)
end

local function ip_answers(module, reply, request, to_group)
  return reply.protocol == request.protocol and (reply.src == request.dst or to_group)
    and reaches(module, reply, request, to_group)
end

-- ---- ICMP errors --------------------------------------------------------------------------------------------------

local function is_same(module, quoted, request)
  return quoted.src == request.src and quoted.dst == request.dst and quoted.protocol == request.protocol
    and quoted.type == request.type and exchange_of(module, quoted) == exchange_of(module, request)
end

-- Whether what is quoted from layer `from` of the reply on is the request from layer `at` on. It may be cut off behind
-- the beginning of what IP carries.
local function is_about(reply, from, request, at)
  for i = 0, #request - at do
    local quoted, asked = reply[from + i], request[at + i]
    local module = module_of(asked)
    if not module then return true end
    if not quoted or quoted.name ~= asked.name then return i > 1 end
    if not is_same(module, quoted.fields, asked.fields) then return false end
  end
  return true
end

-- ---- all layers ---------------------------------------------------------------------------------------------------

-- Whether layer i of the reply answers that of the request, and whether that says it all.
local function layer_answers(module, reply, request, i, to_group)
  local got, asked = reply[i].fields, request[i].fields
  if not is_ip(module) then return not module.answers or module.answers(got, asked) end
  to_group = to_group or module.is_group(asked.dst)
  if is_error(reply[i + 1]) then
    return reaches(module, got, asked, to_group) and is_about(reply, i + 2, request, i), true
  end
  return ip_answers(module, got, asked, to_group)
end

-- Whether a reply answers a request: each layer does, as far as the request has protocols with rules, or an ICMP error
-- in it quotes the request. A request to a group is answered by whoever answers.
---@param reply { name: string, fields: table }[] from proto.dissect
---@param request { name: string, fields: table }[] from proto.dissect, beginning with the same layer
---@return boolean
function M.answers(reply, request)
  local to_group = went_to_group(request)
  for i, asked in ipairs(request) do
    local module = module_of(asked)
    if not module then return true end
    if not reply[i] or reply[i].name ~= asked.name then return false end
    local does, is_all = layer_answers(module, reply, request, i, to_group)
    if is_all or not does then return does end
  end
  return true
end

-- ---- an index of requests -----------------------------------------------------------------------------------------
-- A request is found under two keys: one for what answers it, and one for what quotes it, which may be cut off behind
-- the beginning of what IP carries.

local function part_of(layer, is_reply)
  local module = module_of(layer)
  local part = module and exchange_of(module, layer.fields, is_reply)
  return part and (" %s %s"):format(layer.name, part)
end

local function first_ip(layers, from)
  for i = from, #layers do
    if is_ip(module_of(layers[i])) then return i, layers[i].fields end
  end
end

local function quotation_key(layers, at)
  local ip = layers[at].fields
  return ("about %s > %s%s"):format(ip.src, ip.dst, part_of(layers[at + 1]) or "")
end

-- Texts that a request has in common with whatever answers it: only requests with one of the reply's keys need be
-- looked at.
---@param layers { name: string, fields: table }[] from proto.dissect
---@return string[]
function M.request_keys(layers)
  local at, ip = first_ip(layers, 1)
  local key = ""
  if ip then
    local to_group = went_to_group(layers) or module_of(layers[at]).is_group(ip.dst)
    key = to_group and ANY or ip.dst
  end
  for _, layer in ipairs(layers) do key = key .. (part_of(layer) or "") end
  return { key, at and quotation_key(layers, at) }
end

-- The keys of the requests that a reply can be an answer to. It may have more layers than they.
---@param layers { name: string, fields: table }[] from proto.dissect
---@return string[]
function M.reply_keys(layers)
  local at, ip = first_ip(layers, 1)
  for i, layer in ipairs(layers) do
    local quoted = is_error(layer) and first_ip(layers, i + 1)
    if quoted then return { quotation_key(layers, quoted) } end
  end
  local one, any = ip and ip.src or "", ANY
  local keys = { one, any }
  for i = 1, #layers do
    local part = part_of(layers[i], true)
    if part and i > (at or 0) then
      one, any = one .. part, any .. part
      keys[#keys + 1], keys[#keys + 2] = one, any
    end
  end
  return keys
end

return M
