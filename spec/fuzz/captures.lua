-- captures.lua: frames that nobody here made up: those of the captures that tcpdump is tested with, some of which were
-- made to break it. They come from Debian's source package, when fuzzing begins, and are kept until the next `make
-- clean`.
--
--   luajit spec/fuzz/captures.lua BUILD [CAPTURE FILE ...]
--
-- Where apt-get cannot get them a line says so. BUILD/captures/frames has a line for each frame: its first layer, and
-- hex. BUILD/captures/named has the same for the files that are named.

package.path = "lua/?.lua;lua/?/init.lua;spec/?.lua;" .. package.path

local bytes = require "etherlua.net.bytes"
local link_types = require "etherlua.proto.link_types"

local M = {}

local OF_A_FILE, LONGEST = 40, 2048 -- frames, octets of one
local SECONDS = 60                  -- that getting them may take

local function path_of(build, name)
  return ("%s/captures/%s"):format(build, name or "frames")
end

local function exists(path)
  local file = io.open(path)
  if file then file:close() end
  return file ~= nil
end

-- Frames that were got before, each with the name of its first layer.
---@param build string
---@return fun(): string?, string? iterator
function M.frames(build)
  return coroutine.wrap(function()
    for _, name in ipairs { "frames", "named" } do
      for line in exists(path_of(build, name)) and io.lines(path_of(build, name)) or function() end do
        local first, hex = line:match "^(%S+) ?(%x*)$"
        coroutine.yield(first, bytes.unhex(hex))
      end
    end
  end)
end

-- ---- getting them -------------------------------------------------------------------------------------------------

local COMMANDS = [[
set -e
sh engine/package/sources.sh %s --download-only tcpdump
cd %s
tar xzf tcpdump_*.orig.tar.gz --wildcards '*/tests/*.pcap'
]]

-- Returns whether there are captures now, and else why not.
local function fetch(folder)
  local script, log = os.tmpname(), folder .. "/log"
  local file = assert(io.open(script, "w"))
  file:write((COMMANDS:gsub("%%s", folder)))
  file:close()
  os.execute(("mkdir -p '%s'"):format(folder))
  local status = os.execute(("timeout -k 5 %d sh %s >%s 2>&1 </dev/null"):format(SECONDS, script, log))
  os.remove(script)
  if status == 0 then return true end
  local why = "it took too long"
  for line in io.lines(log) do why = line end
  return false, why
end

-- The first frames of a file that the engine can read and a protocol begins with.
local function read_file(ether, path, out)
  local relay = ether.open("file:" .. path, { any_link = true, filter = "" })
  local conn = relay:default_conn { mirror = true, invalid = true }
  for _ = 1, link_types.is_known(relay.link_type) and OF_A_FILE or 0 do
    local frame = conn:recv_frame(1)
    if not frame then break end
    local text = tostring(frame):sub(1, LONGEST)
    frame:release()
    out:write(link_types.first_layer(relay.link_type, text), " ", bytes.hex(text), "\n")
  end
  relay:close()
end

-- complain: of those that cannot be read; tcpdump's are broken on purpose.
local function read_files(list, to, complain)
  local ether = require "etherlua"
  local out = assert(io.open(to .. ".new", "w"))
  ether.run(function()
    for _, path in ipairs(list) do
      local ok, reason = pcall(read_file, ether, path, out)
      if not ok and complain then print(("no seed: %s: %s"):format(path, reason)) end
    end
  end)
  out:close()
  assert(os.rename(to .. ".new", to))
end

local function found(folder)
  local list, listing = {}, assert(io.popen(("find '%s' -name '*.pcap' | sort"):format(folder)))
  for path in listing:lines() do list[#list + 1] = path end
  listing:close()
  return list
end

if not (arg and arg[0] and arg[0]:find "captures%.lua$") then return M end

local folder = arg[1] .. "/captures"
if not exists(path_of(arg[1])) then
  local ok, why = fetch(folder)
  if ok then read_files(found(folder), path_of(arg[1])) else print("no captures of tcpdump: " .. why) end
  os.execute(("cd '%s' && rm -rf sources lists cache tcpdump*"):format(folder))
end
read_files({ unpack(arg, 2) }, path_of(arg[1], "named"), true)
