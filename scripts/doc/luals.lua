-- luals.lua: definitions for lua-language-server: of each module a file that holds its annotations and functions
-- without bodies. So an editor needs neither the sources nor to know what FFI objects are.

local M = {}

local function add(out, ...)
  out[#out + 1] = string.format(...):gsub("%s+$", "")
end

-- Each annotation on one line, what a return value is behind a #: as the language server wants them.
local function comment(out, doc)
  for _, line in ipairs(doc.text) do add(out, "---%s", line) end
  if doc.class then add(out, "---@class %s%s", doc.class, doc.parent and ": " .. doc.parent or "") end
  for tag, list in pairs { field = doc.fields, param = doc.params } do
    for _, one in ipairs(list) do
      add(out, "---@%s %s%s %s %s", tag, one.name, one.optional and "?" or "", one.type, one.text)
    end
  end
  for _, one in ipairs(doc.returns) do
    add(out, "---@return %s%s", one.type, one.text ~= "" and " # " .. one.text or "")
  end
  if doc.type then add(out, "---@type %s", doc.type) end
end

local function write_function(out, owner, entry)
  local item = entry.item
  comment(out, item.doc)
  out[#out + 1] = ("function %s%s%s(%s) end\n"):format(owner, item.separator, entry.name, table.concat(item.args, ", "))
end

local function write_class(out, class)
  comment(out, class.doc)
  local name = class.name:match "([%w_]+)$"
  out[#out + 1] = #class.methods > 0 and ("local %s = {}\n"):format(name) or ""
  for _, entry in ipairs(class.methods) do write_function(out, name, entry) end
end

local function write_constant(out, item)
  comment(out, item.doc)
  out[#out + 1] = item.shown .. (item.shown:find "=" and "\n" or " = {}\n")
end

-- The definitions of one module.
---@param page table from model.read()
---@return string Lua source
function M.text(page)
  local out = { "---@meta\n" }
  for _, class in ipairs(page.classes) do write_class(out, class) end
  out[#out + 1] = "local M = {}\n"
  if page.name == "etherlua" then out[#out + 1] = "---@type string\nM.version = \"\"\n" end
  for _, item in ipairs(page.constants) do write_constant(out, item) end
  for _, entry in ipairs(page.functions) do write_function(out, "M", entry) end
  out[#out + 1] = "return M\n"
  return table.concat(out, "\n")
end

return M
