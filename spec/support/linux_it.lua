-- linux_it.lua: busted's `it` for what only Linux has, or only a program of Linux can tell: pending elsewhere.

return function(name, fn)
  local words = getfenv(2)
  words.it(name, function()
    if jit.os ~= "Linux" then return words.pending "needs Linux" end
    fn()
  end)
end
