-- proto/dhcp4_order.lua: in which order the options of a DHCP message stand.

local dhcp4_options = require "etherlua.proto.dhcp4_options"

local M = {}

local MESSAGE_TYPE, RELAY_AGENT = 53, 82

-- The order of options when nothing else is asked for: the message type first, the relay agent's last (RFC 3046
-- section 2.1), the others by code.
local FIXED_RANK = { [MESSAGE_TYPE] = 0, [RELAY_AGENT] = 255 }

---@param code integer
---@return integer rank in the usual order
function M.rank(code)
  return FIXED_RANK[code] or code
end

-- The codes in the order in which they are sent: the usual one, but for those that the caller lists. A code that is
-- listed again stands for another part of its option.
---@param raw table by code
---@param order? (string|integer)[] names or codes
---@return integer[] codes
---@return table<integer, integer> listed how often a code is listed
function M.codes(raw, order)
  local listed, ranks, code_of_rank = {}, {}, {}
  -- Insertion sort: they are few (JIT 8).
  local function add(rank, code)
    code_of_rank[rank] = code
    local at = #ranks
    while at > 0 and ranks[at] > rank do
      ranks[at + 1] = ranks[at]
      at = at - 1
    end
    ranks[at + 1] = rank
  end
  for i, key in ipairs(order or {}) do
    local code = dhcp4_options.code_of(key)
    listed[code] = (listed[code] or 0) + 1
    if raw[code] then add(i / 1000, code) end
  end
  for code in pairs(raw) do
    if not listed[code] then add(M.rank(code), code) end
  end
  for i, rank in ipairs(ranks) do ranks[i] = code_of_rank[rank] end
  return ranks, listed
end

-- Names and codes of the options of a message as they come in it.
---@param fields table of dhcp4.parse
---@return (string|integer)[]
function M.keys(fields)
  local keys = {}
  for key in pairs(fields.options) do keys[dhcp4_options.code_of(key)] = key end
  local order = M.codes(keys, fields.option_order)
  for i, code in ipairs(order) do order[i] = keys[code] end
  return order
end

return M
