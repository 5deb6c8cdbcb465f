-- core/files.lua: what reading the system's files and naming them to a shell takes.

local errno = require "etherlua.core.errno"

local M = {}

---@param path string
---@return string? text nil when it cannot be read
function M.read(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read("*a")
  file:close()
  return text
end

---@param path string
---@return boolean whether something is there
function M.exists(path)
  local file, _, code = io.open(path, "rb")
  if file then file:close() end
  return file ~= nil or code ~= errno.ENOENT
end

---@param text string
---@return string one word to a shell
function M.quote(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

return M
