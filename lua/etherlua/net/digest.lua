-- net/digest.lua: 16 bytes that stand for a text of any length, as a key of what strangers name: SipHash-2-4 of 128
-- bits (Aumasson and Bernstein, "SipHash: a fast short-input PRF"). Whoever does not know the secret finds no two texts
-- with one digest. It is no signature.

local bit = require "bit"
local ffi = require "ffi"
local bytes = require "etherlua.net.bytes"
local random = require "etherlua.net.random"

local bxor, rol = bit.bxor, bit.rol

local M = {}

local words_t = ffi.typeof "uint64_t[?]"
local OUT, BETWEEN = 0xeeULL, 0xddULL -- what tells the halves of the result apart
local LENGTH_AT = 2ULL ^ 56           -- the last word has the length in its highest byte

-- What the rounds work on. Nobody yields meanwhile.
local v = ffi.new "uint64_t[4]"

local function rounds(count)
  for _ = 1, count do
    v[0] = v[0] + v[1]
    v[1] = bxor(rol(v[1], 13), v[0])
    v[2] = v[2] + v[3]
    v[3] = bxor(rol(v[3], 16), v[2])
    v[0] = rol(v[0], 32) + v[3]
    v[3] = bxor(rol(v[3], 21), v[0])
    v[2] = v[2] + v[1]
    v[1] = bxor(rol(v[1], 17), v[2])
    v[2] = rol(v[2], 32)
  end
end

local function compress(word)
  v[3] = bxor(v[3], word)
  rounds(2)
  v[0] = bxor(v[0], word)
end

local function finish()
  rounds(4)
  return bxor(v[0], v[1], v[2], v[3])
end

-- The text as words, filled up with zeros, and the number of the last one, which has the length, too.
local function words_of(text)
  local count = math.floor(#text / 8)
  local words = words_t(count + 1)
  ffi.copy(words, text, #text)
  words[count] = words[count] + LENGTH_AT * (#text % 256)
  return words, count
end

local own

-- The secret of this process.
local function own_secret()
  if not own then
    own = ""
    for _ = 1, 4 do own = own .. bytes.put32("secret", random.u32()) end
  end
  return own
end

---@param text string
---@param secret? string 16 bytes (those of this process)
---@return string digest 16 bytes
function M.of(text, secret)
  local key, out = words_t(2), words_t(2)
  ffi.copy(key, secret or own_secret(), 16)
  v[0], v[1] = bxor(key[0], 0x736f6d6570736575ULL), bxor(key[1], 0x646f72616e646f6dULL, OUT)
  v[2], v[3] = bxor(key[0], 0x6c7967656e657261ULL), bxor(key[1], 0x7465646279746573ULL)
  local words, last = words_of(text)
  for i = 0, last do compress(words[i]) end
  v[2] = bxor(v[2], OUT)
  out[0] = finish()
  v[1] = bxor(v[1], BETWEEN)
  out[1] = finish()
  return ffi.string(out, 16)
end

return M
