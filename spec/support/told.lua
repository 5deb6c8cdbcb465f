-- told.lua: a caller's mistake is told at the caller's line: told(fn, words) asserts that fn raises these words, behind
-- a place in the spec file that calls.

local assert = require "luassert"
local misuse = require "etherlua.core.misuse"

---@param fn function
---@param words string the whole of them
return function(fn, words)
  local here = debug.getinfo(2, "S").short_src
  local ok, failure = pcall(fn)
  assert.is_false(ok, "no error was raised")
  assert.equal(words, misuse.words(failure))
  assert.equal(here, tostring(failure):match "^([^%s:]+):%d+: ")
end
