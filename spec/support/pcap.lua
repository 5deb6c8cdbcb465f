-- Capture files made byte by byte (pcap: draft-ietf-opsawg-pcap, pcapng: draft-ietf-opsawg-pcapng), so that nothing of
-- the engine vouches for itself, and what is written into files and read from them.

local ffi = require "ffi"
local frames = require "support.frames"

local START = 1700000000.25 -- of the frames in a file, seconds
local ETHERNET = 1 -- link type

-- ---- files ----------------------------------------------------------------------------------------------------------

local made = {}

local function remove_files()
  for _, path in ipairs(made) do os.remove(path) end
  made = {}
end

local function new_path()
  made[#made + 1] = os.tmpname()
  return made[#made]
end

local function write_file(text)
  local path = new_path()
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
  return path
end

local function read_file(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

local function le16(value) return string.char(value % 256, math.floor(value / 256)) end
local function le32(value) return le16(value % 65536) .. le16(math.floor(value / 65536)) end
local function be32(value) return le32(value):reverse() end

-- A frame is a string, or { frame, at = seconds behind START, len = its length on the wire }.
local function parts(one, i)
  local frame = type(one) == "table" and one[1] or one
  return frame, START + (type(one) == "table" and one.at or (i - 1) * 1e-3), type(one) == "table" and one.len or #frame
end

local function pcap_with(word, magic, unit, list, link)
  local text = { word(magic), word == le32 and le16(2) .. le16(4) or "\0\2\0\4", word(0), word(0), word(262144),
    word(link or ETHERNET) }
  for i, one in ipairs(list) do
    local frame, at, len = parts(one, i)
    local fraction = math.floor((at % 1) / unit + 0.5)
    table.insert(text, word(math.floor(at)) .. word(fraction) .. word(#frame) .. word(len) .. frame)
  end
  return table.concat(text)
end

local function block(kind, body)
  body = body .. ("\0"):rep(-#body % 4)
  return le32(kind) .. le32(#body + 12) .. body .. le32(#body + 12)
end

local FORMATS = {
  ["pcap in microseconds"] = function(list) return pcap_with(le32, 0xa1b2c3d4, 1e-6, list) end,
  ["pcap in nanoseconds"] = function(list) return pcap_with(le32, 0xa1b23c4d, 1e-9, list) end,
  ["pcap of a big-endian machine"] = function(list) return pcap_with(be32, 0xa1b2c3d4, 1e-6, list) end,
  ["pcapng"] = function(list)
    local text = { block(0x0a0d0d0a, le32(0x1a2b3c4d) .. le16(1) .. le16(0) .. ("\255"):rep(8)),
      block(1, le16(ETHERNET) .. le16(0) .. le32(0) .. le16(9) .. le16(1) .. "\9\0\0\0" .. le32(0)) }
    for i, one in ipairs(list) do
      local frame, at, len = parts(one, i)
      local ns = 1000000000ULL * math.floor(at) + math.floor((at % 1) * 1e9 + 0.5)
      table.insert(text, block(6, le32(0) .. le32(tonumber(ns / 2 ^ 32)) .. le32(tonumber(ns % 2 ^ 32)) .. le32(#frame)
        .. le32(len) .. frame))
    end
    return table.concat(text)
  end,
}

local function pcap_file(list, link) return write_file(pcap_with(le32, 0xa1b23c4d, 1e-9, list, link)) end

-- The records of a pcap file that this machine wrote: list of { frame, sec =, ns =, len = }.
local function records(path)
  local text, list = read_file(path), {}
  assert(text:sub(1, 4) == le32(0xa1b23c4d), "no pcap file in nanoseconds")
  local at, words = 24, ffi.cast("const char *", text)
  while at + 16 <= #text do -- it may still be written
    local head = ffi.cast("const uint32_t *", words + at)
    list[#list + 1] = { text:sub(at + 17, at + 16 + head[2]), sec = head[0], ns = head[1], len = head[3] }
    at = at + 16 + head[2]
  end
  return list
end

local function tcpdump(path)
  local pipe = assert(io.popen("tcpdump -enr " .. path .. " 2>&1"))
  local text = pipe:read("*a")
  pipe:close()
  return text
end

-- ---- frames ---------------------------------------------------------------------------------------------------------

local function numbered(i, fields) return frames.frame(frames.udp { payload = ("%06d"):format(i) }, fields) end

local function many(n)
  local list = {}
  for i = 1, n do list[i] = numbered(i) end
  return list
end

-- The numbers that a reader gets until the end of the file, with what it says then.
local function read_all(endpoint, between, timeout)
  local list = {}
  while true do
    local payload, reason = endpoint:recv(timeout or 5)
    if not payload then return list, reason end
    list[#list + 1] = tonumber(payload:sub(-6))
    if between then between(#list) end
  end
end

local function one_to(n, step)
  local list = {}
  for i = 1, n, step or 1 do list[#list + 1] = i end
  return list
end

return {
  START = START, formats = FORMATS, with = pcap_with, block = block, le16 = le16, le32 = le32, be32 = be32,
  file = pcap_file, records = records, tcpdump = tcpdump, remove_files = remove_files, new_path = new_path,
  write_file = write_file, read_file = read_file, numbered = numbered, many = many, read_all = read_all,
  one_to = one_to,
}
