-- sniff.lua: shows the frames that pass on an interface, or those in a capture file, decoded.
--
--   etherlua run sniff -i eth1 arp or udp port 67
--   etherlua run sniff --read trace.pcap -v --count 10

local bytes = require "etherlua.net.bytes"
local capture = require "etherlua.relay.capture"
local ether = require "etherlua"
local filter = require "etherlua.relay.filter"
local json = require "etherlua.program.json"
local link_types = require "etherlua.proto.link_types"
local proto = require "etherlua.proto"
local schemas = require "etherlua.proto.schema"
local script = require "etherlua.script"
local view = require "etherlua.proto.view"

-- ---- options ------------------------------------------------------------------------------------------------------

local function options()
  local parser = script.parser("sniff", "Show the frames that pass, decoded, in VLAN tags or not.")
  parser:argument("filter", "pcap-filter text, such as: arp or udp port 67. It is about what is behind a frame's " ..
    "VLAN tags, unless it speaks of vlan, mpls, pppoes, geneve or vxlan itself."):args("*"):argname("FILTER")
  parser:option("--filter", "The filter, given as an option."):target("filter_option"):argname("FILTER")
  parser:option("-r --read", "Show the frames of this pcap or pcapng file, of Ethernet, Linux cooked (SLL, " ..
    "SLL2), BSD loopback (NULL, LOOP) or raw IP (the same as -i file:FILE)."):argname("FILE")
  parser:option("-w --write", "Write the frames that are shown to this pcap file, too, with their link type.")
    :argname("FILE")
  parser:option("-c --count", "End after so many frames."):argname("N"):convert(script.number(1, 1e15, true))
  parser:option("--duration", "End after so many seconds."):argname("SECONDS"):convert(script.number(0, math.huge))
  parser:flag("-v --verbose", "Each layer with its offset, fields and bytes.")
  parser:flag("-x --hex", "The bytes of each frame.")
  parser:flag("-q --quiet", "No frames, the summary alone.")
  parser:flag("--relative", "Times in seconds since the first frame (default: the time of day).")
  parser:flag("-p --no-promiscuous", "Only what the interface is meant to receive.")
  parser:epilog("The arrow behind the time: < received, > sent by this host. With --json `time` is seconds since " ..
    "1970, `layers` has the fields of each protocol in the order of the wire, bytes in them are in hex.\n\n" ..
    "Exit status: 0 done, 3 frames were lost before they could be shown, 1 something could not be read or written, " ..
    "2 wrong usage.")
  return script.parse(parser, arg)
end

local opts = options()

local function filter_text()
  local words = table.concat(opts.filter, " ")
  if opts.filter_option and words ~= "" then
    script.exit(script.USAGE, "two filters given: as --filter or behind the options is allowed")
  end
  return opts.filter_option or words
end

if opts.read and opts.relay then script.exit(script.USAGE, "-i and --read given: one of them is allowed") end
if opts.read then opts.relay = "file:" .. opts.read end
if opts.write and opts.relay == "file:" .. opts.write then
  script.exit(script.USAGE, "cannot write to the file that is read: " .. opts.write)
end

-- What a burst may be long, in frames.
local DEPTH = 8192

-- What a filter can say depends on the link type of a file, which opening tells. Nothing is read meanwhile.
local function open_file()
  local file = script.relay(opts, { filter = "", recv_depth = DEPTH, any_link = true })
  if not link_types.is_known(file.link_type) then
    script.exit(script.USAGE, ("%s has %s: Ethernet, LINUX_SLL, LINUX_SLL2, NULL, LOOP, RAW, IPV4 or IPV6 is possible")
      :format(file.name:gsub("^file:", ""), file.detail))
  end
  local text = filter_text()
  script.check(function() file:filter(file.link_type == link_types.ETHERNET and filter.any_vlans(text) or text) end)
  return file
end

local function open_interface()
  return script.relay(opts, { filter = script.check(filter.any_vlans, filter_text()), recv_depth = DEPTH,
    outgoing = true, promiscuous = not opts.no_promiscuous })
end

local is_file = opts.relay ~= nil and opts.relay:find "^file:" ~= nil and not opts.lab
local relay = (is_file and open_file or open_interface)()
local is_ethernet = relay.link_type == link_types.ETHERNET
local written = opts.write and script.check(capture.new, opts.write, relay.link_type)

-- ---- one frame ----------------------------------------------------------------------------------------------------

local FRAME = { "frame", "time", "direction", "length", "cut", "vlans", "malformed", "layers" }

local counts = { shown = 0, bytes = 0, malformed = 0, cut = 0 }
local began = ether.now()
local first -- nanoseconds: when the first frame was there

local NS = 1000000000LL

-- Seconds since 1970 with all their digits; before that they are negative.
local function seconds_text(ns)
  local size = ns < 0 and -ns or ns
  return ("%s%d.%09d"):format(ns < 0 and "-" or "", tonumber(size / NS), tonumber(size % NS))
end

local day = { second = nil, text = nil } -- the last time of day that was made

local function time_text(wall)
  if opts.relative then return ("%11.6f"):format(tonumber(wall - first) / 1e9) end
  local rest = (wall % NS + NS) % NS -- counted from the second before, also before 1970
  local whole = tonumber((wall - rest) / NS)
  if whole ~= day.second then day.second, day.text = whole, os.date("%H:%M:%S", whole) end
  return ("%s.%06d"):format(day.text, tonumber(rest / 1000))
end

local function direction_of(frame)
  return not is_file and (frame.outgoing and "out" or "in") or nil
end

local ARROWS = { ["in"] = "< ", out = "> " }

-- What the frames of this relay begin with.
local function first_layer(whole)
  return link_types.first_layer(relay.link_type, whole)
end

local function frame_lines(frame, whole, layers, malformed, wall)
  local line = ("%s %s%s"):format(time_text(wall), ARROWS[direction_of(frame)] or "", proto.describe_layers(layers))
  if frame.cut > 0 then line = ("%s (cut: %d of %d bytes)"):format(line, frame.len, frame.len + frame.cut) end
  if malformed and layers[#layers].name ~= "malformed" then line = line .. " (malformed)" end
  if opts.verbose then line = line .. "\n" .. view.describe(whole, first_layer(whole)) end
  if opts.hex then line = line .. "\n" .. bytes.dump(whole) end
  return line .. "\n"
end

local LAYER = { "name", "fields" }

-- A field as JSON has it: bytes in hex, nil for an empty table. inside: what its schema says of it.
local function plain(value, inside)
  if type(value) == "string" then return value:find("[^\32-\126]") and bytes.hex(value) or value end
  if type(value) ~= "table" then return value end
  if next(value) == nil then return nil end
  local out, is_list = {}, #value > 0
  local names, deeper = nil, {}
  if not is_list then names, deeper = schemas.inner(inside, value) end
  for name, item in pairs(value) do out[name] = plain(item, is_list and inside or deeper[name]) end
  return names and json.ordered(names, out) or out
end

-- A field with what is in it in the order of the wire.
local function plain_field(schema, name, fields)
  local order = schema.orders[name]
  local out = plain(fields[name], schema.inside[name])
  return out and order and json.ordered(order(fields), out) or out
end

local function layer_object(layer, is_last)
  local fields, schema = {}, proto.ends[layer.name] or proto[layer.name].fields
  for name, value in pairs(layer.fields) do
    if name == "payload" then
      fields.payload = is_last and bytes.hex(value) or nil
    else
      fields[name] = plain_field(schema, name, layer.fields)
    end
  end
  return json.ordered(LAYER, { name = layer.name, fields = json.ordered(schema.names, fields) })
end

local function frame_json(frame, _, layers, malformed, wall)
  local objects = {}
  for i, layer in ipairs(layers) do objects[i] = layer_object(layer, i == #layers) end
  return script.json_line(FRAME, { frame = counts.shown, time = seconds_text(wall),
    direction = direction_of(frame), length = frame.len + frame.cut, cut = frame.cut, vlans = tostring(frame.vlans),
    malformed = malformed, layers = objects })
end

local to_text = opts.json and frame_json or frame_lines

-- ---- output -------------------------------------------------------------------------------------------------------

local BATCH = 64 -- frames in one write, while more are waiting

local lines, pending = {}, 0
local gone = false -- nothing more can be written to standard output

local function write(text)
  gone = true
  script.write(text)
  gone = false
end

-- The file first: what was shown is in it.
local function flush()
  local text, file, ok, reason = table.concat(lines), written, true, nil
  lines, pending = {}, 0
  if file then ok, reason = file:flush() end
  if not ok then written = nil end
  if text ~= "" then write(text) end
  if not ok then script.exit(script.FAILED, ("cannot write %s: %s"):format(file.path, reason)) end
end

local function show(frame)
  local wall = relay:wall(frame)
  first = first or wall
  counts.shown, counts.bytes = counts.shown + 1, counts.bytes + frame.len + frame.cut
  if frame.cut > 0 then counts.cut = counts.cut + 1 end
  if written then written:write(frame, wall) end
  local whole = tostring(frame)
  local layers = proto.dissect(whole, first_layer(whole))
  local malformed = frame.cut == 0 and (is_ethernet and frame.invalid or layers[#layers].name == "malformed")
  if malformed then counts.malformed = counts.malformed + 1 end
  if not opts.quiet then lines[#lines + 1] = to_text(frame, whole, layers, malformed, wall) end
  pending = pending + 1
  if pending == BATCH then flush() end
end

local SUMMARY = { "shown", "bytes", "malformed", "cut", "lost", "missed", "overflow", "seconds" }

local function summary()
  local stats = relay:stats()
  local overflow = stats.rx_overflow + stats.rx_evicted + stats.rx_no_memory
  return { shown = counts.shown, bytes = counts.bytes, malformed = counts.malformed, cut = counts.cut,
    lost = stats.rx_missed + overflow, missed = stats.rx_missed, overflow = overflow, seconds = ether.now() - began }
end

local function summary_text(values)
  local words = { ("%d %s, %d bytes in %.3f s"):format(values.shown, values.shown == 1 and "frame" or "frames",
    values.bytes, values.seconds) }
  if values.malformed > 0 then words[#words + 1] = values.malformed .. " malformed" end
  if values.cut > 0 then words[#words + 1] = values.cut .. " cut short" end
  if values.lost > 0 then
    words[#words + 1] = ("%d lost: %d by the kernel, %d here"):format(values.lost, values.missed, values.overflow)
  end
  return table.concat(words, ", ") .. "\n"
end

-- ---- the run ------------------------------------------------------------------------------------------------------

local mirror = relay:default_conn { mirror = true, invalid = true }
local deadline = opts.duration and began + opts.duration or math.huge

-- Where it does not stand between the frames.
if opts.quiet then
  script.progress(function() return ("%d frames, %d bytes"):format(counts.shown, counts.bytes) end)
end

-- Also after Ctrl-C.
ether.defer(function()
  script.end_progress()
  if gone then return end
  flush()
  local values = summary()
  script.status = values.lost > 0 and script.REFUSED or script.DONE
  write(opts.json and script.json_line(SUMMARY, values) or summary_text(values))
end)

local function next_frame()
  local frame, reason = mirror:recv_frame(0)
  if frame or reason ~= "timeout" then return frame, reason end
  flush()
  return mirror:recv_frame(deadline < math.huge and deadline - ether.now() or nil)
end

local reason
while counts.shown ~= opts.count and ether.now() < deadline do
  local frame
  frame, reason = next_frame()
  if not frame then break end
  show(frame)
end
flush()
if reason and reason ~= "timeout" and reason ~= "closed" then
  local problem = relay:problem()
  script.exit(script.FAILED, ("%s: %s behind frame %d%s"):format(relay.name, reason, counts.shown,
    problem and ": " .. problem or ""))
end
