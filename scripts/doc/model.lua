-- model.lua: what of the sources is for users: which modules, and which of their functions and classes. It finds what
-- is missing: a public function without a word about it, a parameter without a type, a type that nobody knows.

local annotations = require "annotations"

local M = {}

local ROOT = "lua/etherlua/"

-- Their own functions are reached through `ether` alone; what they define for users is their class.
local OBJECTS = { "relay/relay", "relay/conn", "relay/udp", "relay/frame", "relay/chosen", "relay/endpoint",
  "relay/capture", "host/host", "core/run", "core/task", "core/loop", "core/select", "core/channel", "core/pacer",
  "core/histogram", "ask/sr", "ask/responder" }
local MODULES = { "net/addr", "net/vlan_stack", "net/prefix", "net/ip_range", "net/vlan_range", "net/rate",
  "net/size_mix", "relay/filter", "relay/rewrite", "net/random", "lab/lab", "lab/netns", "program/script",
  "program/script_host", "net/bytes", "test", "test/lab", "test/servers", "test/expect", "test/frames" }
local FOLDERS = { "proto", "host", "role" }

local KNOWN = {}
for name in ("any nil boolean string number integer function table thread true false self file* fun ffi.cdata*")
  :gmatch "%S+" do
  KNOWN[name] = true
end

local function lua_files(folder)
  local names, listing = {}, io.popen(("ls '%s%s'"):format(ROOT, folder))
  for name in listing:lines() do names[#names + 1] = name:match "^(.+)%.lua$" end
  listing:close()
  return names
end

-- ---- what is public -----------------------------------------------------------------------------------------------

-- The functions of a module or class that are not private, as entries: item, called (how it is written in a program).
local function functions_of(module, owner, prefix)
  local list = {}
  for _, item in ipairs(module.items) do
    if item.kind == "function" and item.owner == owner and not item.doc.private and not item.name:find "^__" then
      list[#list + 1] = { item = item, path = module.path, called = prefix .. item.separator .. item.name,
        name = item.name }
    end
  end
  return list
end

-- An alias is documented where what it stands for is.
local function resolve(module, item, modules)
  local target = modules[module.requires[item.module]]
  local found = target and target:find(item.source)
  return found and { item = found, path = target.path, name = item.name } or nil
end

-- "M.REQUEST, M.REPLY = 1, 2" as it is, of what is no literal the name alone.
local function shown(item)
  if item.name then return "M." .. item.name end
  local value = item.source:match "=%s*(.*)$"
  local is_literal = value and not value:gsub('"[^"]*"', ""):gsub("0x%x+", ""):find "[%a{]"
  return is_literal and item.source or item.source:match "^[%w_., ]*[%w_]"
end

-- Functions and constants of a module. What is no function where it comes from is a constant.
local function exports_of(module, modules, prefix)
  local list, constants = functions_of(module, "M", prefix), {}
  for _, item in ipairs(module.items) do
    local entry = item.kind == "alias" and resolve(module, item, modules)
    if entry then
      entry.called = prefix .. "." .. item.name
      list[#list + 1] = entry
    elseif item.kind ~= "function" then
      item.shown = shown(item)
      constants[#constants + 1] = item
    end
  end
  return list, constants
end

local function short_name(name)
  return name:match "([%w_]+)$"
end

local function classes_of(module)
  local list = {}
  for _, class in ipairs(module.classes) do
    list[#list + 1] = { name = class.name, doc = class.doc, owner = class.owner,
      methods = class.owner and functions_of(module, class.owner, short_name(class.name)) or {} }
  end
  return list
end

-- A file that only says where its module went.
local function alias_target(file)
  local opened = assert(io.open(ROOT .. file .. ".lua"))
  local text = opened:read "*a"
  opened:close()
  return text:match '^%-%-[^\n]*\nreturn require "([%w_.]+)"\n$'
end

-- What users write, by the module's own name.
local function promised_names()
  local names = {}
  for _, folder in ipairs { "", "role/" } do
    for _, name in ipairs(lua_files(folder)) do
      local target = alias_target(folder .. name)
      if target then names[target] = "etherlua." .. (folder .. name):gsub("/", ".") end
    end
  end
  return names
end

local function module_name(file)
  return "etherlua." .. file:gsub("/init$", ""):gsub("/", ".")
end

local function read_all()
  local modules, order, promised = {}, {}, promised_names()
  local function read(file, name)
    name = promised[name] or name
    if modules[name] or alias_target(file) then return end
    modules[name] = annotations.read(ROOT .. file .. ".lua", name)
    order[#order + 1] = name
  end
  read("init", "etherlua")
  for _, list in ipairs { OBJECTS, MODULES } do
    for _, file in ipairs(list) do read(file, module_name(file)) end
  end
  for _, folder in ipairs(FOLDERS) do
    for _, name in ipairs(lua_files(folder)) do read(folder .. "/" .. name, module_name(folder .. "/" .. name)) end
  end
  return modules, order
end

local function page_of(module, modules, hidden)
  local page = { name = module.name, path = module.path, header = module.header, items = module.items,
    private = module.private, classes = classes_of(module), functions = {}, constants = {} }
  page.prefix = module.name == "etherlua" and "ether" or short_name(module.name)
  if not hidden then page.functions, page.constants = exports_of(module, modules, page.prefix) end
  return page
end

-- Reads the sources.
---@return table[] pages in order: name (of the module), path, header, prefix (what users call it), functions, classes,
---  constants
function M.read()
  local modules, order = read_all()
  local hidden, pages = {}, {}
  for _, file in ipairs(OBJECTS) do hidden[module_name(file)] = true end
  for i, name in ipairs(order) do pages[i] = page_of(modules[name], modules, hidden[name]) end
  return pages
end

-- ---- what is missing ----------------------------------------------------------------------------------------------

local function each_function(pages, visit)
  for _, page in ipairs(pages) do
    for _, entry in ipairs(page.functions) do visit(entry) end
    for _, class in ipairs(page.classes) do
      for _, entry in ipairs(class.methods) do visit(entry) end
    end
  end
end

local function check_parameters(entry, complain)
  local item, described = entry.item, {}
  for _, param in ipairs(item.doc.params) do described[param.name] = true end
  for _, name in ipairs(item.args) do
    if not described[name] and name ~= "_" then complain(("%s has no ---@param %s"):format(entry.called, name)) end
    described[name] = nil
  end
  for name in pairs(described) do
    complain(("%s has no parameter %s, which ---@param names"):format(entry.called, name))
  end
end

local function check_words(entry, complain)
  local doc = entry.item.doc
  if #doc.text == 0 and #doc.returns == 0 then complain(entry.called .. " has no word about what it does") end
end

-- Names of types in an annotation: what stands before a colon is the name of a field or parameter.
local function check_type(text, classes, complain)
  local bare = text:gsub('"[^"]*"', ""):gsub("[%w_]+%??:", "")
  for name in bare:gmatch "[%a_][%w_.]*%*?" do
    if not KNOWN[name] and not classes[name] then complain(("type %s is not known"):format(name)) end
  end
end

local function check_types(doc, classes, complain)
  for _, list in ipairs { doc.params, doc.returns, doc.fields } do
    for _, one in ipairs(list) do check_type(one.type, classes, complain) end
  end
  if doc.parent then check_type(doc.parent, classes, complain) end
end

-- Methods of a table that no ---@class names: nobody would find them.
local function check_owners(page, complain)
  local owned = { M = true }
  for owner in pairs(page.private) do owned[owner] = true end
  for _, class in ipairs(page.classes) do owned[class.owner or ""] = true end
  for _, item in ipairs(page.items) do
    if item.kind == "function" and not owned[item.owner] and not item.doc.private and not item.name:find "^__" then
      complain(item.line, ("%s%s%s: %s has no ---@class"):format(item.owner, item.separator, item.name, item.owner))
    end
  end
end

-- What has to be mended in the sources.
---@param pages table[] from read()
---@return string[] complaints, each "file:line: what is missing"
function M.check(pages)
  local complaints, classes = {}, {}
  local function complain_at(path, line, text)
    complaints[#complaints + 1] = ("%s:%d: %s"):format(path, line, text)
  end
  for _, page in ipairs(pages) do
    for _, class in ipairs(page.classes) do classes[class.name] = true end
  end
  each_function(pages, function(entry)
    local function complain(text) complain_at(entry.path, entry.item.line, text) end
    check_parameters(entry, complain)
    check_words(entry, complain)
    check_types(entry.item.doc, classes, complain)
  end)
  for _, page in ipairs(pages) do
    check_owners(page, function(line, text) complain_at(page.path, line, text) end)
    for _, class in ipairs(page.classes) do
      check_types(class.doc, classes, function(text) complain_at(page.path, 1, class.name .. ": " .. text) end)
    end
  end
  return complaints
end

return M
