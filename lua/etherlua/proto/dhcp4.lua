-- proto/dhcp4.lua: DHCP messages (RFC 2131). The options are typed by the table in dhcp4_options.lua.
-- Long options (RFC 3396) and option overload are handled inside. No state machine; plain BOOTP is not read.
-- An option of an unknown code, or with bytes that do not fit its type, is kept as raw bytes under its numeric code.
-- Of one of fixed size the first value that fits counts, and its bytes are kept beside it.

local bytes = require "etherlua.net.bytes"
local dhcp4_options = require "etherlua.proto.dhcp4_options"
local dhcp4_order = require "etherlua.proto.dhcp4_order"
local rest = require "etherlua.proto.dhcp4_rest"
local misuse = require "etherlua.core.misuse"
local schema = require "etherlua.proto.schema"

local byte, char, find, format, sub = string.byte, string.char, string.find, string.format, string.sub
local concat = table.concat
local u16, u32, put8, put16, put32 = bytes.u16, bytes.u32, bytes.put8, bytes.put16, bytes.put32
local ip4_at, decode = bytes.ip4_at, dhcp4_options.decode

local M = {}

local COOKIE, HEADER_SIZE, BOOTP_SIZE = "\x63\x82\x53\x63", 240, 300
local SNAME_SIZE, FILE_SIZE = 64, 128
local OVERLOAD, END = 52, 255

M.value_names = { op = { "request", "reply" }, htype = { "Ethernet" } }
M.fields = schema.new("dhcp4", { "op", "htype", "hlen", "hops", "xid", "secs", "flags", "broadcast", "ciaddr", "yiaddr",
  "siaddr", "giaddr", "chaddr", "sname", "file", "options", "option_order", "option_bytes", "no_end", "overload",
  "rest", "pad", "max_size" },
  { inside = { options = dhcp4_options.inside.options, option_bytes = dhcp4_options.inside.option_bytes,
    option_order = dhcp4_options.inside.option_order, rest = rest.check }, orders = { options = dhcp4_order.keys } })

---@type table<string, integer> name of an option -> its code
M.option_codes = dhcp4_options.codes

-- ---- Reading ------------------------------------------------------------------------------------------------------

-- One option more. raw.parts has those that came several times, by code; they are joined when all are there: each one
-- joined to those before would copy these again and again.
local function take(raw, order, code, value)
  local before = raw[code]
  order[#order + 1] = code
  if not before then
    raw[code] = value
    return
  end
  raw.parts = raw.parts or {}
  local parts = raw.parts[code] or { before }
  parts[#parts + 1] = value
  raw.parts[code] = parts
end

local function join_parts(raw)
  if not raw.parts then return end
  for code, parts in pairs(raw.parts) do raw[code] = concat(parts) end
end

-- The options between two positions: bytes into raw by code, those of one code joined (RFC 3396), and codes into order
-- as they came; raw.is_padded: there are octets in between that are none. Returns the position of the end option, or
-- where the last option ends and true if there is none, or nil, reason.
local function scan(message, at, stop, raw, order)
  local last = at - 1
  while at <= stop do
    local code, size = byte(message, at, at + 1)
    if code == END then return at, false end
    at = at + 1
    if code == 0 then
      raw.is_padded = true
    else
      if at > stop or at + size > stop then return nil, format("dhcp4: option %d is cut short", code) end
      take(raw, order, code, sub(message, at + 1, at + size))
      at = at + 1 + size
      last = at - 1
    end
  end
  return last, true
end

-- As codes of option 52; an overloaded field is one bit.
local OVERLOAD_NAMES = { ["\1"] = "file", ["\2"] = "sname", ["\3"] = "both" }
local OVERLOAD_BITS = { file = 1, sname = 2, both = 3, [true] = 3 }

-- What is overloaded, by the options of the main field; that this is so is not an option of its own. The first value
-- counts, as of any option.
local function take_overload(raw, order)
  local overload = OVERLOAD_NAMES[sub(raw[OVERLOAD] or "", 1, 1)]
  if not overload then return nil end
  local kept = 0
  for i = 1, #order do
    local code = order[i]
    order[i] = nil
    if code ~= OVERLOAD then
      kept = kept + 1
      order[kept] = code
    end
  end
  return overload
end

-- All options of a message in the order of RFC 3396 section 5: options, file, sname. Where the end option is missing,
-- they end with the message. Returns where they end in the main field, what is overloaded, whether the end is missing.
local function scan_all(message, raw, order)
  local end_at, no_end = scan(message, HEADER_SIZE + 1, #message, raw, order)
  if not end_at then return nil, no_end end
  join_parts(raw)
  local overload, ok, reason = take_overload(raw, order), true, nil
  if overload == "file" or overload == "both" then ok, reason = scan(message, 109, 236, raw, order) end
  if ok and (overload == "sname" or overload == "both") then ok, reason = scan(message, 45, 108, raw, order) end
  if not ok then return nil, reason end
  join_parts(raw)
  return end_at, overload, no_end or nil
end

-- The codes, each once if the parts of an option stand together, and whether they do not.
local function without_repeats(raw, order)
  if not raw.parts then return order, false end
  local once, seen, apart = {}, {}, false
  for i, code in ipairs(order) do
    apart = apart or seen[code] and order[i - 1] ~= code or false
    if not seen[code] then once[#once + 1] = code end
    seen[code] = true
  end
  return once, apart
end

-- The table of options, their order if it is not the usual one, and the bytes of those that build() would make others
-- of.
local function typed(raw, order, overload)
  local codes, apart = without_repeats(raw, order)
  local options, last_rank, is_usual, parts, kept = {}, -1, not apart, raw.parts or {}, nil
  for i = 1, #codes do
    local code = codes[i]
    local key, value, loose = decode(code, raw[code], parts[code])
    options[key] = value
    if loose or parts[code] then kept = dhcp4_options.keep(kept, code, raw[code], loose or apart, parts[code]) end
    local rank = dhcp4_order.rank(code)
    is_usual = is_usual and rank > last_rank
    last_rank = rank
  end
  if overload and #raw[OVERLOAD] > 1 then
    kept = dhcp4_options.keep(kept, OVERLOAD, raw[OVERLOAD], true, parts[OVERLOAD])
  end
  return options, not is_usual and (apart and order or codes) or nil, kept
end

-- A text of fixed size, up to its NUL; nothing if options are in its place.
local function fixed_text(message, at, size, overload, name)
  if byte(message, at) == 0 or overload == name or overload == "both" then return "" end
  local text = sub(message, at, at + size - 1)
  local nul = find(text, "\0", 1, true)
  return nul and sub(text, 1, nul - 1) or text
end

local function chaddr_text(message, hlen)
  if hlen == 6 then return bytes.mac_at(message, 29) end
  return sub(message, 29, 28 + hlen)
end

-- What build() needs to make a message of the same size.
local function padding(have, end_at)
  if have == math.max(end_at, BOOTP_SIZE) then return nil end
  return have > end_at and have
end

---@param message string
---@return table? fields op, htype, hlen, hops, xid, secs, flags, broadcast (its top bit), ciaddr, yiaddr, siaddr,
---  giaddr, chaddr (text if hlen is 6, else raw), sname, file, options (by name if known, else raw by code), and where
---  build() would not make it so unasked: overload ("file", "sname", "both"), option_order (list of codes),
---  option_bytes (by code a list of the parts that came), no_end (true: the end option is missing), rest (what stands
---  behind chaddr, sname, file and options in the place of zeros; areas: all that may hold options), pad
---@return string? reason
function M.parse(message)
  local have = #message
  if have < HEADER_SIZE then return bytes.short("dhcp4", have, HEADER_SIZE) end
  if sub(message, 237, 240) ~= COOKIE then return nil, "dhcp4: no magic cookie" end
  local op, htype, hlen, hops = byte(message, 1, 4)
  if hlen > 16 then return nil, format("dhcp4: hlen %d is over 16", hlen) end
  local raw, order, flags = {}, {}, u16(message, 11)
  local end_at, overload, no_end = scan_all(message, raw, order)
  if not end_at then return nil, overload end
  local options, option_order, option_bytes = typed(raw, order, overload)
  local fields = {
    op = op, htype = htype, hlen = hlen, hops = hops,
    xid = u32(message, 5),
    secs = u16(message, 9),
    flags = flags,
    broadcast = flags >= 0x8000,
    ciaddr = ip4_at(message, 13),
    yiaddr = ip4_at(message, 17),
    siaddr = ip4_at(message, 21),
    giaddr = ip4_at(message, 25),
    chaddr = chaddr_text(message, hlen),
    sname = fixed_text(message, 45, SNAME_SIZE, overload, "sname"),
    file = fixed_text(message, 109, FILE_SIZE, overload, "file"),
    options = options,
    option_order = option_order,
    option_bytes = option_bytes,
    no_end = no_end,
    overload = overload,
    pad = padding(have, end_at),
  }
  fields.rest = rest.of(message, fields, end_at, (overload or raw.is_padded) and M.build)
  return fields
end

-- ---- Writing ------------------------------------------------------------------------------------------------------

-- Options as code -> bytes.
local function raw_options(options)
  local raw = {}
  for key, value in pairs(options) do
    local code, option_bytes = dhcp4_options.encode(key, value)
    if raw[code] then misuse.raise("DHCP option %d is given twice, by its name and by its code", code) end
    raw[code] = option_bytes
  end
  return raw
end

-- The parts of an option from the first to the last as code, length, value. Returns their size.
local function add_pieces(pieces, code, parts, first, last)
  local size = 0
  for i = first, last do
    pieces[#pieces + 1] = char(code, #bytes.string("DHCP option " .. code, parts[i], 255)) .. parts[i]
    size = size + 2 + #parts[i]
  end
  return size
end

-- The options as a list of code, length, value; and their size. Of an option that is listed several times each takes a
-- part, and the last one the rest.
local function option_pieces(fields)
  local raw, pieces, size, all, sent = raw_options(fields.options or {}), {}, 0, {}, {}
  local codes, listed = dhcp4_order.codes(raw, fields.option_order)
  for _, code in ipairs(codes) do
    all[code] = all[code] or dhcp4_options.parts(code, raw[code], fields.option_bytes and fields.option_bytes[code])
    local first, count = sent[code] or 1, #all[code]
    local last = (listed[code] or 1) > 1 and math.min(first, count) or count
    listed[code], sent[code] = (listed[code] or 1) - 1, last + 1
    size = size + add_pieces(pieces, code, all[code], first, last)
  end
  return pieces, size
end

-- Option 52, as it came if it still says the same.
local function overload_option(fields, bits)
  local kept, pieces = fields.option_bytes and fields.option_bytes[OVERLOAD], {}
  local parts = kept and sub(concat(kept), 1, 1) == char(bits) and kept or { char(bits) }
  add_pieces(pieces, OVERLOAD, parts, 1, #parts)
  return concat(pieces)
end

-- As many of the last pieces as fit in a field of some size, closed by an end option; and how many pieces remain.
local function fill_field(pieces, last, size)
  local first, room = last + 1, size - 1
  while first > 2 and #pieces[first - 1] <= room do
    first = first - 1
    room = room - #pieces[first]
  end
  return rest.filled_up(concat(pieces, "", first, last) .. char(END), size), first - 1
end

-- Which of file (1) and sname (2) are to take options: what the caller says, else both if the message gets too long.
local function overload_bits(fields, size, file, sname)
  local overload = fields.overload
  if overload then
    local bits = OVERLOAD_BITS[overload]
    if not bits then misuse.raise('bad overload %q: true, "file", "sname" or "both" is allowed', tostring(overload)) end
    if file ~= "" and bits ~= 2 or sname ~= "" and bits ~= 1 then
      misuse.raise("DHCP file or sname is given, but option overload puts options in its place")
    end
    return bits
  end
  if overload == false or not fields.max_size or size <= fields.max_size then return 0 end
  return (file == "" and 1 or 0) + (sname == "" and 2 or 0)
end

-- sname, file and options as they are sent. The options that fit in overloaded fields are taken from the end, because
-- they are read in the order options, file, sname.
local function lay_out(fields)
  local file, sname = bytes.string("dhcp4 file", fields.file, FILE_SIZE),
    bytes.string("dhcp4 sname", fields.sname, SNAME_SIZE)
  local pieces, size = option_pieces(fields)
  if fields.rest and fields.rest.areas then
    local kept_sname, kept_file, kept_options = rest.areas(fields, concat(pieces))
    if kept_sname then return kept_sname, kept_file, kept_options end
  end
  local bits, last = overload_bits(fields, HEADER_SIZE + size + 1, file, sname), #pieces
  local close = fields.no_end and "" or char(END)
  if bits == 0 then return sname, file, concat(pieces) .. close end
  if bits >= 2 then sname, last = fill_field(pieces, last, SNAME_SIZE) end
  if bits % 2 == 1 then file, last = fill_field(pieces, last, FILE_SIZE) end
  local first = pieces[1] or ""
  return sname, file, first .. overload_option(fields, bits) .. concat(pieces, "", 2, last) .. close
end

local REPLIES = { OFFER = true, ACK = true, NAK = true }

local function default_op(options)
  return options and REPLIES[options.message_type] and 2 or 1
end

local function flags_of(fields)
  local flags = bytes.check("dhcp4 flags", fields.flags or 0, 0, 0xffff)
  if fields.broadcast == nil then return flags end
  return flags % 0x8000 + (bytes.flag("dhcp4 broadcast", fields.broadcast) and 0x8000 or 0)
end

local function chaddr_bytes(fields)
  if (fields.hlen or 6) == 6 then return bytes.mac("dhcp4 chaddr", fields.chaddr or "00:00:00:00:00:00") end
  return bytes.string("dhcp4 chaddr", fields.chaddr, 16)
end

local function address(what, text)
  return bytes.ip(what, text or "0.0.0.0", 4)
end

---@param fields table as from parse, all optional; op follows from the message type, broadcast overrides the bit of
---  flags. overload: true, "file", "sname" or "both" moves options there, false forbids it; max_size: octets of the
---  message, over which options are moved without being told; option_order: names or codes to be sent first, in this
---  order; option_bytes: used for an option that still means the same; no_end: true leaves the end option out; pad:
---  octets to fill up to, 300 unless given (BOOTP, RFC 1542 section 2.1), or false
---@return string message; raises for unknown names, bad values, and if max_size is not enough
function M.build(fields)
  M.fields:check(fields)
  if fields.max_size then bytes.check("dhcp4 max_size", fields.max_size, 0, 0xffff) end
  local sname, file, options = lay_out(fields)
  local message = put8("dhcp4 op", fields.op or default_op(fields.options)) .. put8("dhcp4 htype", fields.htype or 1)
    .. put8("dhcp4 hlen", fields.hlen or 6) .. put8("dhcp4 hops", fields.hops or 0)
    .. put32("dhcp4 xid", fields.xid or 0) .. put16("dhcp4 secs", fields.secs or 0)
    .. put16("dhcp4 flags", flags_of(fields))
    .. address("dhcp4 ciaddr", fields.ciaddr) .. address("dhcp4 yiaddr", fields.yiaddr)
    .. address("dhcp4 siaddr", fields.siaddr) .. address("dhcp4 giaddr", fields.giaddr)
    .. rest.completed(fields, "chaddr", chaddr_bytes(fields), 16) .. rest.completed(fields, "sname", sname, SNAME_SIZE)
    .. rest.completed(fields, "file", file, FILE_SIZE) .. COOKIE .. options
  if fields.max_size and #message > fields.max_size then
    misuse.raise("a DHCP message of %d octets does not fit in max_size %d", #message, fields.max_size)
  end
  if fields.pad == false then return message end
  local size = bytes.check("dhcp4 pad", fields.pad or BOOTP_SIZE, 0, 0xffff)
  return rest.completed(fields, "options", message, math.max(size, #message))
end

-- ---- Answers ------------------------------------------------------------------------------------------------------

local BOOTREQUEST, BOOTREPLY = 1, 2

-- What a request and its answers have in common.
---@param fields table from parse
---@return integer
function M.exchange(fields)
  return fields.xid
end

---@param reply table from parse
---@param request table from parse
---@return boolean whether the transaction is the same (RFC 2131 section 4.4.1)
function M.answers(reply, request)
  return request.op == BOOTREQUEST and reply.op == BOOTREPLY and reply.xid == request.xid
end

-- What a reply has where nobody says otherwise (RFC 2131 section 4.3.1, table 3).
---@param request table from parse
---@return table fields
function M.turn(request)
  return { op = BOOTREPLY, htype = request.htype, hlen = request.hlen, xid = request.xid, flags = request.flags,
    giaddr = request.giaddr, chaddr = request.chaddr }
end

-- ---- Text ---------------------------------------------------------------------------------------------------------

-- What is worth a word, in this order: label, field of the header, option.
local WORDS = {
  { "ciaddr", "ciaddr" },
  { "address", "yiaddr" },
  { "requested", nil, "requested_address" },
  { "server", nil, "server_id" },
  { "lease", nil, "lease_time" },
  { "relay", "giaddr" },
  { "host", nil, "host_name" },
  { "message", nil, "message" },
}

---@param fields table from parse
---@return string such as "DHCP DISCOVER xid 0x12345678 aa:bb:cc:11:22:33 requested 10.0.0.5"
function M.describe(fields)
  local kind, options = fields.options.message_type, fields.options
  local name = type(kind) == "number" and "type " .. kind or kind or fields.op == 2 and "BOOTREPLY" or "BOOTREQUEST"
  local chaddr = fields.hlen == 6 and fields.chaddr or bytes.hex(fields.chaddr)
  local words = { format("DHCP %s xid 0x%08x %s", name, fields.xid, chaddr) }
  for _, word in ipairs(WORDS) do
    local value = fields[word[2]] or options[word[3]]
    if value and value ~= "0.0.0.0" then words[#words + 1] = word[1] .. " " .. bytes.printable(tostring(value)) end
  end
  return concat(words, " ")
end

return M
