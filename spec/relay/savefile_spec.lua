-- Capture files of every sort, made octet by octet: each frame comes out whole, with its time and its length.

local ether = require "etherlua"
local frames = require "support.frames"
local kinds = require "support.kinds"
local leaks = require "support.leaks"
local misuse = require "etherlua.core.misuse"
local pcap = require "support.pcap"

local T = 1700000000 -- seconds
local FRAME, OTHER = frames.frame(frames.udp { payload = "one" }), frames.frame(frames.udp { payload = "the other" })

local le16, le32, be32 = pcap.le16, pcap.le32, pcap.be32
local function be16(value) return le16(value):reverse() end

-- ---- pcap ---------------------------------------------------------------------------------------------------------

local function pcap_of(w32, w16, magic, list, more)
  more = more or {}
  local text = { w32(magic) .. w16(2) .. w16(more.minor or 4) .. w32(0) .. w32(0) .. w32(more.snap or 262144)
    .. w32(more.link or 1) }
  for _, one in ipairs(list) do
    table.insert(text, w32(one.sec) .. w32(one.part) .. w32(#one[1]) .. w32(one.len or #one[1])
      .. (more.extra or "") .. one[1])
  end
  return table.concat(text)
end

-- ---- pcapng -------------------------------------------------------------------------------------------------------

local function blocks(w32, w16)
  local make = {}
  local function block(kind, body)
    body = body .. ("\0"):rep(-#body % 4)
    return w32(kind) .. w32(#body + 12) .. body .. w32(#body + 12)
  end
  function make.other(kind, body) return block(kind, body) end
  function make.section() return block(0x0a0d0d0a, w32(0x1a2b3c4d) .. w16(1) .. w16(0) .. ("\255"):rep(8)) end
  function make.interface(snap, options, link)
    return block(1, w16(link or 1) .. w16(0) .. w32(snap or 0) .. (options and options .. w32(0) or ""))
  end
  function make.option(code, value) return w16(code) .. w16(#value) .. value .. ("\0"):rep(-#value % 4) end
  local function time(value) return w32(math.floor(value / 2 ^ 32)) .. w32(value % 2 ^ 32) end
  function make.packet(number, at, frame, len)
    return block(6, w32(number) .. time(at) .. w32(#frame) .. w32(len or #frame) .. frame)
  end
  function make.old(number, at, frame)
    return block(2, w16(number) .. w16(0) .. time(at) .. w32(#frame) .. w32(#frame) .. frame)
  end
  function make.simple(frame, len) return block(3, w32(len or #frame) .. frame) end
  return make
end

local L, B = blocks(le32, le16), blocks(be32, be16)
local ONE, TWO = { FRAME, sec = T, part = 1 }, { OTHER, sec = T + 1, part = 5 }

-- What each file is -> its octets, and of each frame its octets, nanoseconds since 1970, and octets that are missing.
local FILES = {
  ["pcap, microseconds"] = { pcap_of(le32, le16, 0xa1b2c3d4, { ONE, TWO }), { FRAME, "1700000000000001000" },
    { OTHER, "1700000001000005000" } },
  ["pcap, nanoseconds, of a big-endian machine"] = { pcap_of(be32, be16, 0xa1b23c4d, { ONE }),
    { FRAME, "1700000000000000001" } },
  ["pcap with extended records"] = { pcap_of(le32, le16, 0xa1b2cd34, { ONE, TWO }, { extra = "12345678" }),
    { FRAME, "1700000000000001000" }, { OTHER, "1700000001000005000" } },
  ["pcap with frames longer than its snapshot length"] = { pcap_of(le32, le16, 0xa1b2c3d4, { ONE, TWO },
    { snap = 20 }), { FRAME, "1700000000000001000" }, { OTHER, "1700000001000005000" } },
  ["pcap with check sequences, version 2.3, no snapshot length"] = { pcap_of(le32, le16, 0xa1b2c3d4, { ONE },
    { snap = 0, minor = 3, link = 0x54000001 }), { FRAME, "1700000000000001000" } },
  ["pcap with more octets than there were"] = { pcap_of(le32, le16, 0xa1b2c3d4,
    { { FRAME, sec = T, part = 0, len = 20 } }), { FRAME, "1700000000000000000" } },
  ["pcap of the year 2106"] = { pcap_of(le32, le16, 0xa1b2c3d4, { { FRAME, sec = 0xffffffff, part = 999999 } }),
    { FRAME, "4294967295999999000" } },
  ["pcapng"] = { L.section() .. L.interface() .. L.packet(0, T * 1e6 + 1, FRAME, 2000),
    { FRAME, "1700000000000001000", 2000 - #FRAME } },
  ["pcapng of a big-endian machine"] = { B.section() .. B.interface(0, B.option(14, ("\0"):rep(7) .. "\9"))
    .. B.packet(0, T * 1e6 + 1, FRAME), { FRAME, "1700000009000001000" } },
  ["pcapng with units and offsets"] = { L.section() .. L.interface(0, L.option(9, "\9"))
    .. L.interface(0, L.option(2, "name") .. L.option(9, "\148")) .. L.interface(0, L.option(14, ("\255"):rep(8)))
    .. L.packet(0, 1000000007, FRAME) .. L.packet(1, 3 * 2 ^ 19, FRAME) .. L.packet(2, 500000, FRAME)
    .. L.interface(0, L.option(9, "\10")) .. L.packet(3, 12345678909, FRAME), { FRAME, "1000000007" },
    { FRAME, "1500000000" }, { FRAME, "-500000000" }, { FRAME, "1234567890" } },
  ["pcapng with interfaces of several snapshot lengths and link types"] = { L.section() .. L.interface(262144)
    .. L.packet(0, 1, FRAME) .. L.interface(96) .. L.interface(10, nil, 113) .. L.packet(1, 2, OTHER),
    { FRAME, "1000" }, { OTHER, "2000" } },
  ["pcapng with sections of either byte order"] = { L.section() .. L.interface() .. L.packet(0, 1, FRAME)
    .. B.section() .. B.interface(0, B.option(9, "\3")) .. B.packet(0, 2, OTHER) .. L.section() .. L.interface()
    .. L.packet(0, 3, FRAME), { FRAME, "1000" }, { OTHER, "2000000" }, { FRAME, "3000" } },
  ["pcapng with old and simple packets"] = { L.section() .. L.interface(30) .. L.old(0, 7, FRAME)
    .. L.simple(FRAME:sub(1, 30), #FRAME), { FRAME, "7000" }, { FRAME:sub(1, 30), "0", #FRAME - 30 } },
  ["pcapng with blocks that nobody knows"] = { L.section() .. L.other(10, "abc") .. L.interface()
    .. L.other(0x80000abc, "") .. L.packet(0, 1, FRAME) .. L.other(5, "statistics") .. L.packet(0, 2, OTHER),
    { FRAME, "1000" }, { OTHER, "2000" } },
}

-- What is wrong -> octets, and what is said of it.
local BROKEN = {
  ["a frame that is too long"] = { pcap_of(le32, le16, 0xa1b2c3d4, { ONE }) .. le32(T) .. le32(0) .. le32(300000)
    .. le32(300000), "a frame of 300000 bytes cannot be" },
  ["a packet longer than its block"] = { L.section() .. L.interface() .. L.packet(0, 1, FRAME) .. L.other(6, le32(0)
    .. le32(0) .. le32(0) .. le32(100) .. le32(100)), "a packet of 100 bytes cannot be" },
  ["a packet without a header"] = { L.section() .. L.interface() .. L.packet(0, 1, FRAME) .. L.other(6, ""),
    "a packet of 0 bytes cannot be" },
  ["a packet of no interface"] = { L.section() .. L.interface() .. L.packet(0, 1, FRAME) .. L.section()
    .. L.packet(0, 1, FRAME), "a packet is of interface 0, which the section does not have" },
  ["a packet of another link type"] = { L.section() .. L.interface() .. L.interface(0, nil, 101)
    .. L.packet(0, 1, FRAME) .. L.packet(1, 1, FRAME),
    "a packet has a link type that is not the first interface's: 12" },
  ["a block of no length"] = { L.section() .. L.interface() .. L.packet(0, 1, FRAME) .. le32(6) .. le32(0),
    "a block of 0 bytes cannot be" },
  ["a block without end"] = { L.section() .. L.interface() .. L.packet(0, 1, FRAME) .. le32(6) .. le32(0xfffffff0),
    "a block of 4294967280 bytes cannot be" },
  ["a section without a byte order"] = { L.section() .. L.interface() .. L.packet(0, 1, FRAME) .. le32(0x0a0d0d0a)
    .. le32(28) .. le32(7), "a section has no byte order: 0x7" },
  ["an interface without a description"] = { L.section() .. L.interface() .. L.packet(0, 1, FRAME) .. L.other(1, "x"),
    "interface 1 has no description" },
  ["units that cannot be"] = { L.section() .. L.interface() .. L.packet(0, 1, FRAME)
    .. L.interface(0, L.option(9, "\20")), "interface 1 counts time in units that cannot be" },
}

local function open(text)
  return ether.open("file:" .. pcap.write_file(text), { filter = "", frames = 128 })
end

-- What comes: list of { octets, nanoseconds, missing }, and how it ends.
local function read(relay)
  local mirror, list = relay:default_conn { mirror = true, invalid = true }, {}
  while true do
    local frame, reason = mirror:recv_frame(5)
    if not frame then return list, reason end
    list[#list + 1] = { tostring(frame), tostring(relay:wall(frame)):gsub("LL", ""), frame.cut }
  end
end

-- fn as a task.
local function task_it(name, fn)
  it(name, function() kinds.run_apart(fn) end)
end

describe("a capture file:", function()
  after_each(function()
    pcap.remove_files()
    leaks.check()
  end)

  for what, case in pairs(FILES) do
    task_it(what .. ": is read as it was written", function()
      local relay = open(case[1])
      local got, reason = read(relay)
      assert.equal("closed", reason)
      assert.equal(#case - 1, #got)
      for i, one in ipairs(got) do assert.same({ case[i + 1][1], case[i + 1][2], case[i + 1][3] or 0 }, one) end
      assert.is_nil(relay:problem())
    end)
  end

  for what, case in pairs(BROKEN) do
    task_it(what .. " is told, behind what is good", function()
      local relay = open(case[1])
      local got, reason = read(relay)
      assert.same({ 1, "file broken", case[2] }, { #got, reason, relay:problem() })
    end)
  end

  for text, words in pairs {
    [L.section()] = "it has no interface", [L.section() .. L.packet(0, 1, FRAME)] = "a packet is before all interfaces",
    [L.section():sub(1, 20)] = "truncated", [le32(0xa1b2c3d4) .. le16(1) .. le16(0) .. ("\0"):rep(16)] =
      "pcap files of version 1 are not known", ["#!/bin/sh"] = "unknown file format",
  } do
    task_it("that cannot be opened says so: " .. words, function()
      local ok, message = pcall(open, text)
      assert.is_false(ok)
      assert.matches("^cannot read capture file %S+: " .. words .. "$", misuse.words(message))
    end)
  end

  task_it("cut off anywhere, or with any octet changed, does no harm", function()
    for what, case in pairs(FILES) do
      local text = case[1]
      for at = 1, math.min(#text, 300), 5 do
        for _, damaged in ipairs { text:sub(1, at), text:sub(1, at - 1) .. string.char((text:byte(at) + 128) % 256)
          .. text:sub(at + 1) } do
          local ok, relay = pcall(open, damaged)
          if ok then
            local got, reason = read(relay)
            assert.is_true(#got <= #case and (reason == "closed" or reason == "file broken"), what)
            relay:close()
          end
        end
      end
      pcap.remove_files()
    end
  end)
end)
