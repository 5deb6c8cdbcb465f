-- core/pairs.lua: `pairs` that visits every entry. LuaJIT compiles loops over pairs() since 2021, and leaves entries
-- out when it gives such a loop up while it runs, as it does with those that have a loop inside (LuaJIT issues 827 and
-- 1510). So for everybody in this Lua state pairs() hands out an iterator that is not the one that LuaJIT knows, and
-- that is never compiled. A loop over `next` itself has no such help.

local next, original = next, pairs

local function step(t, key)
  return next(t, key)
end

jit.off(step)

-- As Lua's own.
function _G.pairs(t) -- luacheck: ignore 122
  local iterator, state, first = original(t)
  return iterator == next and step or iterator, state, first
end
