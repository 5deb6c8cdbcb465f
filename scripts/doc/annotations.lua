-- annotations.lua: reads what a Lua source says about itself: the comment at its top, and the comment above each
-- function, class and constant, with LuaLS annotations (---@param and so on). It knows the style of this project's
-- sources and not the whole of Lua: a definition begins at the start of a line.

local M = {}

-- ---- types --------------------------------------------------------------------------------------------------------

-- The type at the start of a text ends at the first space that is not inside brackets or behind one of : , |
local function split_type(text)
  local depth, i = 0, 1
  while i <= #text do
    local char = text:sub(i, i)
    if char:find "[%(%[{<]" then depth = depth + 1 end
    if char:find "[%)%]}>]" then depth = depth - 1 end
    if char == " " and depth == 0 and not text:sub(1, i - 1):find "[:,|]$" then break end
    i = i + 1
  end
  return text:sub(1, i - 1), text:sub(i + 1)
end

-- ---- tags ---------------------------------------------------------------------------------------------------------

local tags = {}

function tags.param(doc, text)
  local name, optional, rest = text:match "^([%w_.]+)(%??)%s+(.*)$"
  local kind, about = split_type(rest)
  table.insert(doc.params, { name = name, optional = optional == "?", type = kind, text = about })
end

tags["return"] = function(doc, text)
  local kind, about = split_type(text)
  table.insert(doc.returns, { type = kind, text = about })
end

function tags.field(doc, text)
  local name, optional, rest = text:match "^([%w_]+)(%??)%s+(.*)$"
  local kind, about = split_type(rest)
  table.insert(doc.fields, { name = name, optional = optional == "?", type = kind, text = about })
end

function tags.class(doc, text)
  local name, rest = text:match "^([%w_.]+)(.*)$"
  doc.class, doc.parent = name, rest:match "^%s*:%s*([%w_.]+)"
end

tags["type"] = function(doc, text)
  local kind, about = split_type(text)
  doc.type, doc.text = kind, about ~= "" and { about } or doc.text
end

function tags.private(doc) doc.private = true end

-- Lines of a comment, without their dashes: { text = lines, params =, returns =, fields =, raw = lines as they are }
local function read_comment(lines)
  local doc = { text = {}, params = {}, returns = {}, fields = {}, raw = lines }
  local tagged
  local function finish()
    if not tagged then return end
    local name, rest = tagged:match "^@(%w+)%s*(.*)$"
    local read = tags[name] or error("unknown annotation @" .. tostring(name), 0)
    read(doc, rest)
    tagged = nil
  end
  for _, line in ipairs(lines) do
    local annotation = line:match "^%-%-%-(.*)$"
    if annotation and annotation:sub(1, 1) == "@" then
      finish()
      tagged = annotation
    elseif annotation then
      if not tagged then error("prose begins with --, not with ---", 0) end
      tagged = tagged .. " " .. annotation:match "^%s*(.*)$"
    else
      finish()
      table.insert(doc.text, (line:gsub("^%-%- ?", "")))
    end
  end
  finish()
  return doc
end

-- ---- definitions --------------------------------------------------------------------------------------------------

local function words(text)
  local list = {}
  for word in text:gmatch "[%w_.]+" do list[#list + 1] = word end
  return list
end

-- "M.a, M.b = x.c, x.d" as two aliases; nil when it is none.
local function aliases(line)
  local list, names, sources = {}, line:match "^(M%.[%w_., ]-) = ([%w_]+%.[%w_., ]+)$"
  sources = words(sources or "")
  for i, name in ipairs(words(names or "")) do
    local module, source = (sources[i] or ""):match "^([%w_]+)%.([%w_]+)$"
    if not module then return nil end
    list[i] = { kind = "alias", owner = "M", name = name:sub(3), module = module, source = source }
  end
  return list[1] and list
end

-- What a line of the table that init.lua returns defines, or nil.
local function entry(line)
  local name, args = line:match "^  ([%w_]+) = function(%b())"
  if name then return { kind = "function", owner = "M", separator = ".", name = name, args = words(args) } end
  local exported, module, source = line:match "^  ([%w_]+) = ([%w_]+)%.([%w_]+),$"
  if exported then return { kind = "alias", owner = "M", name = exported, module = module, source = source } end
end

-- What a line defines, a list of aliases, or nil.
local function definition(line)
  local owner, separator, name, args = line:match "^function ([%w_.]-)([.:])([%w_]+)(%b())"
  if owner then return { kind = "function", owner = owner, separator = separator, name = name, args = words(args) } end
  local var = line:match "^local ([%w_]+) =" or line:match "^(M%.[%w_]+) = {}$"
  if var then return { kind = "table", owner = var } end
  local list = aliases(line)
  if list then return list end
  if line:find "^M%.[%w_]+[ ,]" then return { kind = "constant", owner = "M", source = line } end
end

local function is_rule(line)
  return line:find "^%-%- %-%-%-%-" ~= nil
end

local Module = {}
Module.__index = Module

function Module:keep(item, doc, line_number)
  item.doc, item.line = doc, line_number
  self.items[#self.items + 1] = item
end

-- Keeps what a line defines with the comment above it; a class is kept also when nothing is defined below it.
function Module:add(line, comment, line_number, read)
  local ok, doc = pcall(read_comment, comment)
  if not ok then error(("%s:%d: %s"):format(self.path, line_number, doc), 0) end
  local item = read(line)
  if doc.class then
    self.classes[#self.classes + 1] = { name = doc.class, owner = item and item.owner, doc = doc }
  elseif item and item.kind == "table" then
    self.private[item.owner] = doc.private
  elseif item then
    for _, one in ipairs(item.kind and { item } or item) do self:keep(one, doc, line_number) end
  end
end

local function read_lines(module, lines)
  local comment, number, is_table = {}, 0, false
  for line in lines do
    number = number + 1
    is_table = is_table or line:find "^return {"
    local plain = is_table and line:gsub("^  (%-%-)", "%1") or line
    if is_rule(line) then
      comment = {}
    elseif plain:find "^%-%-" then
      comment[#comment + 1] = plain
    elseif not module.header then
      module.header, comment = read_comment(comment), {}
    else
      local local_module, required = line:match '^local ([%w_]+) = require "([%w_.]+)"'
      if local_module then module.requires[local_module] = required end
      module:add(line, comment, number, is_table and entry or definition)
      comment = {}
    end
  end
end

-- Reads a source file.
---@param path string
---@param name string what is given to require
---@return table module header, items (functions, constants, aliases), classes, requires; private: by name, which tables
---  are not for users
function M.read(path, name)
  local module = setmetatable({ path = path, name = name, items = {}, classes = {}, requires = {},
    private = { M = false } }, Module)
  read_lines(module, io.lines(path))
  return module
end

-- The function that an alias stands for, or nil.
function Module:find(name)
  for _, item in ipairs(self.items) do
    if item.kind == "function" and item.owner == "M" and item.name == name then return item end
  end
end

return M
