-- terminal.lua: a program in a real terminal, tmux, which is typed at and looked at as a person would.
--
--   local term = terminal.start({ "build/etherlua", "repl" }, { columns = 40 })
--   term:wait_for("> ")
--   term:type("1 + 1") term:key("Enter")
--
-- Behind the program's end its exit status is on the screen, and whether the terminal is as it was.

local M = {}

local TIMEOUT, PAUSE = 15, 0.03 -- seconds

local function quote(text)
  return "'" .. tostring(text):gsub("'", "'\\''") .. "'"
end

local function quoted(list)
  local words = {}
  for i, word in ipairs(list) do words[i] = quote(word) end
  return table.concat(words, " ")
end

local Terminal = {}
Terminal.__index = Terminal

local function tmux(self, ...)
  local pipe = assert(io.popen(("tmux -u -f /dev/null -S %s %s 2>&1"):format(self.socket, quoted { ... })))
  local text = pipe:read("*a")
  pipe:close()
  return text
end

-- Types characters as they are.
function Terminal:type(text)
  tmux(self, "send-keys", "-t", "spec", "-l", text)
end

-- Presses keys by tmux's names: Enter, Tab, Up, C-c.
function Terminal:key(...)
  tmux(self, "send-keys", "-t", "spec", ...)
end

-- Types a line and ends it.
function Terminal:enter(text)
  self:type(text)
  self:key("Enter")
end

-- What is on the screen, without the blank lines at its end.
---@return string
function Terminal:screen()
  return (tmux(self, "capture-pane", "-p", "-t", "spec"):gsub("%s+$", ""))
end

-- Waits until fn(screen) is true; fails with the screen when that takes too long.
---@param fn function
---@param what string what is waited for
---@return string screen
function Terminal:wait(fn, what)
  local screen
  for _ = 1, TIMEOUT / PAUSE do
    screen = self:screen()
    if fn(screen) then return screen end
    os.execute("sleep " .. PAUSE)
  end
  error(("%s did not come; the screen:\n%s"):format(what, screen), 3)
end

-- Waits until a text is on the screen.
---@param text string
---@return string screen
function Terminal:wait_for(text)
  return self:wait(function(screen) return (screen .. "\n"):find(text, 1, true) end, ("%q"):format(text))
end

-- Waits until the last line on the screen is this one, which is where the cursor is.
---@param line string
---@return string screen
function Terminal:wait_for_last(line)
  return self:wait(function(screen) return ("\n" .. screen):sub(-#line - 1) == "\n" .. line end,
    ("the last line %q"):format(line))
end

function Terminal:resize(columns, rows)
  tmux(self, "resize-window", "-t", "spec", "-x", columns, "-y", rows)
end

function Terminal:close()
  tmux(self, "kill-server")
  os.remove(self.socket)
end

-- Says the status, then what stty has that is not as usual.
local SHELL = "trap : INT; %s %s; echo status $?; " ..
  "stty -a | grep -qw -- '-icanon\\|-echo\\|-isig' && echo spoilt; read _"

---@param command string[]
---@param opts? { columns: integer, rows: integer, env: string[] } env: NAME=VALUE
---@return table terminal
function M.start(command, opts)
  opts = opts or {}
  local self = setmetatable({ socket = os.tmpname() }, Terminal)
  os.remove(self.socket)
  local env = { "env", "-u", "NO_COLOR", "LC_ALL=C.UTF-8" }
  for _, setting in ipairs(opts.env or {}) do env[#env + 1] = setting end
  local said = tmux(self, "new-session", "-d", "-s", "spec", "-x", opts.columns or 100, "-y", opts.rows or 40,
    SHELL:format(quoted(env), quoted(command)))
  if said ~= "" then error("tmux: " .. said) end
  return self
end

return M
