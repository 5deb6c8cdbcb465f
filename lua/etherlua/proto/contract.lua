-- proto/contract.lua: whether a module keeps the contract of a protocol, which is at the top of proto/init.lua, as far
-- as that can be told without packets.

local M = {}

-- What each protocol exports, and what some of them do: name -> type.
local NEEDED = { parse = "function", build = "function", describe = "function", fields = "table" }
local OPTIONAL = { short = "string", child = "function", next = "table", selectors = "table",
  value_names = "table", carrier = "function",
  answers = "function", exchange = "function", turn = "function", details = "function", checksum_ok = "function",
  is_group = "function", is_error = "function", UNSPECIFIED = "string" }

local function note_types(lacks, module, wanted, is_needed)
  for name, kind in pairs(wanted) do
    local found = type(rawget(module, name))
    if found ~= kind and (is_needed or found ~= "nil") then
      lacks[#lacks + 1] = found == "nil" and name or ("%s: a %s, not a %s"):format(name, kind, found)
    end
  end
end

local function note_names(lacks, fields, what, names)
  for _, name in ipairs(names) do
    if not fields.known[name] then lacks[#lacks + 1] = ("fields: %s, which is %s"):format(name, what) end
  end
end

local function names_of(table_)
  local names = {}
  for name in pairs(table_) do names[#names + 1] = name end
  return names
end

local function note_fields(lacks, module)
  local fields, targets = module.fields, {}
  for _, name in pairs(fields.aliases) do targets[#targets + 1] = name end
  note_names(lacks, fields, "an alias's", targets)
  note_names(lacks, fields, "derived", fields.derived)
  note_names(lacks, fields, "a default's", names_of(fields.defaults))
  note_names(lacks, fields, "a list's", names_of(fields.inside))
  note_names(lacks, fields, "a selector", rawget(module, "selectors") or {})
  if rawget(module, "child") then note_names(lacks, fields, "the child's", { "payload" }) end
end

-- What a module lacks to be a protocol.
---@param module table
---@return string[] names, sorted, such as "describe", "fields: length, which is derived"; none: it is one
function M.lacks(module)
  local lacks = {}
  note_types(lacks, module, NEEDED, true)
  note_types(lacks, module, OPTIONAL, false)
  if rawget(module, "next") and not rawget(module, "child") then lacks[#lacks + 1] = "child" end
  local fields = rawget(module, "fields")
  if type(fields) == "table" and fields.known then note_fields(lacks, module) end
  table.sort(lacks)
  return lacks
end

return M
