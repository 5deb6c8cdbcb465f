-- nobody.lua: the program as an ordinary user runs it: user nobody, with a copy of the program in a folder that
-- everybody may enter. The clone may be where only its owner may go, and the copy's file may be given rights.

local shell = require "support.shell"

local M = {}

-- What a command of nobody's begins with, as words and as text. The copy finds its own library.
M.WORDS = { "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "env", "-u", "ETHERLUA_LIB" }
M.AS = table.concat(M.WORDS, " ") .. " "

local ETHERLUA = os.getenv "ETHERLUA" or "build/etherlua"
local LIBRARY = os.getenv "ETHERLUA_LIB" or "build/libetherlua.so"

local Copy = {}
Copy.__index = Copy

-- A new copy: `folder` has program, library, modules and scripts as the clone has them; the first two are `path` and
-- `library`.
---@return table copy close() removes it
function M.copy()
  local folder = shell.output_of "mktemp -d":match "[^\n]+"
  shell.output_of(("mkdir %s/build && cp %s %s %s/build && cp -r lua scripts %s && chmod -R a+rX %s"):format(folder,
    ETHERLUA, LIBRARY, folder, folder, folder))
  return setmetatable({ folder = folder, path = folder .. "/build/etherlua",
    library = ("%s/build/%s"):format(folder, LIBRARY:match "[^/]+$") }, Copy)
end

function Copy:close()
  os.execute("rm -rf " .. self.folder)
end

return M
