-- alone.lua: tests that measure what the JIT makes of something, each in a process of its own, where nothing that was
-- compiled before can help or harm. Such a test is written like any other:
--
--      alone.it("makes no garbage", function() ... end)

local assert = require "luassert"
local files = require "etherlua.core.files"
local shell = require "support.shell"

local M = {}

local SANITIZED = (os.getenv "ETHERLUA_LIB" or ""):find "/san/" ~= nil
local COMMAND = "ETHERLUA_ALONE=1 luajit $(command -v busted) --ignore-lua -o TAP --filter=%s %s"

local function run_alone(name, path)
  local pattern = name:gsub("%p", "%%%0")
  local text, status = shell.run(COMMAND:format(files.quote(pattern), files.quote(path)))
  assert.equal(0, status, text)
  assert.matches("ok 1 ", text, 1, true)
end

-- `it`, of the spec file that calls.
---@param name string found nowhere else in the file
---@param fn function
function M.it(name, fn)
  local words, path = getfenv(2), debug.getinfo(2, "S").source:match "^@(.*)"
  words.it(name, function()
    if SANITIZED then return words.pending "a library with sanitizers is not measured" end
    if os.getenv "ETHERLUA_ALONE" then return fn() end
    run_alone(name, path)
  end)
end

return M
