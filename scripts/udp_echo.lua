-- udp_echo.lua: a host that sends UDP datagrams back, and exists nowhere in the operating system.
--
--   etherlua run udp_echo -i eth1 --vlan 100.200 --ip 10.0.0.5/24
--   etherlua run udp_echo -i eth1 --ip dhcp --ip6 auto --port 7 --port 5060

local ether = require "etherlua"
local script = require "etherlua.script"
local script_host = require "etherlua.program.script_host"
local udp_echo = require "etherlua.role.udp_echo"

-- ---- options ------------------------------------------------------------------------------------------------------

local function options()
  local parser = script.parser("udp_echo", "Echo UDP datagrams (RFC 862), as a host that answers ping too.")
  script_host.add(parser)
  parser:mutex(
    parser:option("--port", "UDP port; may be given several times (default: 7)."):argname("PORT"):count("*")
      :convert(script.number(1, 65535, true)),
    parser:flag("--any-port", "All UDP ports. Two such hosts never end, once somebody has made them begin."))
  parser:option("--count", "Datagrams to echo (default: no limit)."):argname("N"):convert(script.number(1, 1e15, true))
  parser:option("--duration", "Seconds to run (default: until Ctrl-C)."):argname("SECONDS")
    :convert(script.number(0.001, math.huge))
  parser:epilog("A datagram from port 7, or from one of its own ports, is not echoed: another echo service would " ..
    "echo it again. Exit status: 0 done, 3 the host got no address, 2 wrong usage.")
  return script.parse(parser, arg)
end

local opts = options()

-- ---- output -------------------------------------------------------------------------------------------------------

local COUNTERS = { "echoed", "bytes", "loops", "ignored", "too_long", "unsent" }
local WORDS = { echoed = "%d echoed", bytes = "%d bytes", loops = "%d from echo services", ignored = "%d ignored",
  too_long = "%d too long", unsent = "%d not sent" }

local function line_of(values)
  local parts = {}
  for i, name in ipairs(COUNTERS) do
    if i <= 2 or values[name] > 0 then parts[#parts + 1] = WORDS[name]:format(values[name]) end
  end
  return table.concat(parts, ", ")
end

local function addresses_of(host)
  local list = { host.ip }
  for ip in pairs(host.addresses) do list[#list + 1] = ip end
  return table.concat(list, ", ")
end

local function ports_text()
  if opts.any_port then return "all UDP ports" end
  return "UDP port " .. (#opts.port > 0 and table.concat(opts.port, ", ") or tostring(udp_echo.PORT))
end

-- ---- the run ------------------------------------------------------------------------------------------------------

local relay = script.relay(opts)
local host = script_host.host_of(opts, relay)
local echo = script.check(udp_echo.new, host, { ports = #opts.port > 0 and opts.port or nil, any_port = opts.any_port,
  count = opts.count })

-- Also after Ctrl-C.
ether.defer(function()
  if opts.json then script.print_json(COUNTERS, echo:summary()) else print(line_of(echo:summary())) end
  script.status = script.DONE
end)
io.stdout:setvbuf("line")
if not opts.json then
  print(("echoing %s at %s (%s)"):format(ports_text(), addresses_of(host), script_host.name_of(host)))
end
script.progress(function() return line_of(echo:summary()) end)

local task = ether.spawn(function() return echo:serve() end)
local done, problem = task:join(opts.duration)
if not done and problem ~= "timeout" then script.exit(script.FAILED, ("%s: %s"):format(relay.name, problem)) end
task:cancel()
