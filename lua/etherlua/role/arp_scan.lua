-- role/arp_scan.lua: asks by ARP (RFC 826) for many addresses on any number of VLAN stacks, at a rate, and keeps who
-- answered. What it asks for 0.0.0.0 are probes, which change nobody's cache (RFC 5227 2.1.1).
--
--   local scan = arp_scan.new(relay, { targets = ip_range.new "10.0.0.0/16", vlans = vlan_range.new "100", mac = MAC })
--   scan:run()
--   for answer in scan:answers() do print(answer.ip, answer.mac) end
--
-- Each VLAN stack has an EtherConn with a MAC address of its own, counted up from the first, and a task that reads it:
-- so an answer tells by its target where it was asked for, and one that came with another VLAN stack is known as a
-- leak. The relay's default endpoint hears those whose stack is none of them. Some leave the target empty: then the
-- frame's destination tells, or, where that is everybody, who heard it.
--
-- A question is 16 bytes and its answer is kept there. Only what does not fit, the second owner of an address, is a
-- table; how many of these there are is limited, since anybody can send them.

local ffi = require "ffi"
local addr = require "etherlua.net.addr"
local arp = require "etherlua.proto.arp"
local arp_fast = require "etherlua.proto.arp_fast"
local group = require "etherlua.net.group"
local histogram = require "etherlua.core.histogram"
local memory = require "etherlua.net.memory"
local misuse = require "etherlua.core.misuse"
local numbers = require "etherlua.net.numbers"
local options = require "etherlua.core.options"
local ownership = require "etherlua.host.ownership"
local pacer = require "etherlua.core.pacer"
local questions = require "etherlua.role.question"
local role = require "etherlua.role.role"
local sched = require "etherlua.core.sched"
local vlan_stack = require "etherlua.net.vlan_stack"

local floor = math.floor
local load32, same_mac = memory.load32, memory.same_mac

local M = {}

local ARP = numbers.ethertype.ARP
local BROADCAST, SEND_OPTS = addr.mac(group.BROADCAST), { ethertype = ARP }
local OWNERS_MAX = 16         -- MAC addresses kept of one address
local OTHERS_MAX = 65536      -- second and further owners kept in all
local LEAKS_MAX = 4096        -- answers from other VLAN stacks kept
local QUIET, SLOWER = 0.05, 4 -- when all have answered: seconds at least, and times the slowest, for second owners

-- Questions and stacks that one scan may have: 256 MB, and as many endpoints as an xdp relay steers (bpf/steer.h).
M.QUESTIONS_MAX, M.STACKS_MAX = 2 ^ 24, 200000

-- asked, took: microseconds, of the last transmission and until the first answer. owners: how many MAC addresses have
-- answered, the first of which is mac.
local questions_t = ffi.typeof "struct { uint32_t asked, took; uint8_t mac[6], tries, owners; }[?]"

-- See arp_scan.new.
---@class etherlua.arp_scan
local Scan = {}
Scan.__index = Scan

local packet = arp_fast.packet() -- what was read last; nobody yields while it is looked at

-- ---- answers ------------------------------------------------------------------------------------------------------

-- The number of the VLAN stack that has the MAC address; nil for a stranger's.
local function stack_of(scan, mac)
  local first = scan.mac.byte
  if mac[0] ~= first[0] or mac[1] ~= first[1] then return nil end
  local n = (load32(mac, 2) - load32(first, 2)) % 2 ^ 32
  return n < scan.vlans.count and n or nil
end

local function is_listed(list, mac)
  for _, other in ipairs(list) do
    if other.mac == mac then return true end
  end
end

-- The sender of the frame, where the answer says that somebody else has the address (as routers do that speak VRRP).
local function sent_by(frame)
  if same_mac(frame.data + 6, packet.sha) then return nil end
  return frame.src_mac
end

-- Somebody else answers for an address that has an owner.
local function add_owner(scan, i, question, frame, seconds)
  local list, mac = scan.others[i] or {}, addr.mac_text(ffi.string(packet.sha, 6))
  if is_listed(list, mac) then
    scan.repeated = scan.repeated + 1
  elseif question.owners >= OWNERS_MAX or scan.others_count >= OTHERS_MAX then
    scan.unlisted = scan.unlisted + 1
  else
    if question.owners == 1 then scan.duplicates = scan.duplicates + 1 end
    question.owners, scan.others_count = question.owners + 1, scan.others_count + 1
    list[#list + 1], scan.others[i] = { mac = mac, seconds = seconds, sent_by = sent_by(frame) }, list
  end
end

-- Of the first answer: kept apart, for few have one.
local function keep_sender(scan, i, frame)
  if scan.senders_count >= OTHERS_MAX then return end
  scan.senders[i], scan.senders_count = frame.src_mac, scan.senders_count + 1
end

local function accept(scan, i, question, frame, seconds)
  if question.owners == 0 then
    question.owners, question.took = 1, seconds * 1e6
    ffi.copy(question.mac, packet.sha, 6)
    scan.answered = scan.answered + 1
    scan.times:record(seconds)
    if not same_mac(frame.data + 6, packet.sha) then return keep_sender(scan, i, frame) end
  elseif same_mac(question.mac, packet.sha) then
    scan.repeated = scan.repeated + 1
  else
    add_owner(scan, i, question, frame, seconds)
  end
end

-- An answer to a question on one VLAN stack came with another one.
local function add_leak(scan, stack, frame, seconds)
  if #scan.leaked >= LEAKS_MAX then
    scan.unlisted = scan.unlisted + 1
    return
  end
  scan.leaked[#scan.leaked + 1] = { stack = stack, ip = addr.ip4_text(packet.spa),
    mac = addr.mac_text(ffi.string(packet.sha, 6)), vlans = tostring(scan.vlans:at(stack)),
    came_with = vlan_stack.text(frame.vlans, scan.vlans:at(stack)), seconds = seconds,
    sent_by = sent_by(frame) }
end

-- The number of the VLAN stack that was asked on, by the answer to it; came: as of hear().
local function asked_on(scan, frame, came)
  if not ownership.is_nobody(packet.tha) then return stack_of(scan, packet.tha) end
  return stack_of(scan, frame.data) or came
end

-- The number of the question that the packet that was read answers, and that of its VLAN stack. A group address is
-- nobody's (RFC 1812 3.3.2).
local function question_of(scan, frame, came)
  if packet.op ~= arp.REPLY or packet.sha[0] % 2 == 1 then return nil end
  local stack, target = asked_on(scan, frame, came), scan.targets:index(packet.spa)
  if not stack or not target then return nil end
  local i = stack * scan.targets.count + target
  if scan.questions[i].tries > 0 then return i, stack end
end

-- came: number of the VLAN stack of the endpoint that heard it, nil for the default endpoint.
local function hear(scan, frame, came)
  local ok = arp_fast.parse(frame.data + frame.payload, frame.payload_len, packet)
  local i, stack = nil, nil
  if ok then i, stack = question_of(scan, frame, came) end
  if not i then
    scan.ignored = scan.ignored + 1
    return
  end
  local question = scan.questions[i]
  local seconds = questions.waited(scan, question, frame.timestamp)
  if came == stack or not came and vlan_stack.same_vlan(frame.vlans, scan.vlans:at(stack)) then
    accept(scan, i, question, frame, seconds)
  else
    add_leak(scan, stack, frame, seconds)
  end
end

local function read(scan, conn, stack)
  for frame in conn:frames() do
    if frame.ethertype == ARP then hear(scan, frame, stack) end
  end
end

-- ---- questions ----------------------------------------------------------------------------------------------------

-- Returns why it is of no use to go on, if so.
local function ask(scan, i, question)
  local conn = scan.conns[floor(i / scan.targets.count)]
  scan.template:ask(conn.mac.byte, scan.targets:at(i % scan.targets.count))
  questions.mark(scan, question)
  question.tries = question.tries + 1
  return questions.count_sent(scan, conn:send(scan.template.data, scan.template.size, BROADCAST, SEND_OPTS))
end

-- Asks everybody who has not answered.
local function ask_all(scan, pace)
  for i = 0, scan.count - 1 do
    local question = scan.questions[i]
    if question.owners == 0 then
      if question.tries > 0 then questions.wait_timeout(scan, question) end
      pace:wait()
      questions.take_turn(scan)
      local reason = question.owners == 0 and ask(scan, i, question)
      if reason then return reason end
    end
  end
end

-- Until the last answer may have come; when all have, until second owners may have answered.
local function linger(scan)
  local deadline = sched.now() + scan.timeout
  while scan.answered < scan.count and sched.now() < deadline do sched.sleep(0.001) end
  sched.sleep(math.max(0, math.min(deadline - sched.now(), QUIET + SLOWER * (scan.times.max or 0))))
end

local function run(scan)
  scan:open()
  local pace = pacer.new { rate = scan.rate }
  scan.began = sched.now()
  for pass = 1, scan.tries do
    if scan.answered == scan.count then break end
    scan.pass = pass
    local reason = ask_all(scan, pace)
    if reason then return nil, reason end
  end
  linger(scan)
  return true
end

-- Asks, again where nobody answers, and waits for the last answers: when all have answered, for second owners of the
-- last addresses, which are about as fast. Blocks until that is done.
---@return true|nil
---@return string|nil reason why it could not go on, such as "interface gone"
function Scan:run()
  return role.run(self, run)
end

-- ---- what came of it ----------------------------------------------------------------------------------------------

local function answer_of(scan, i, mac, seconds, source)
  local stack = floor(i / scan.targets.count)
  local vlans = scan.vlan_texts[stack] or tostring(scan.vlans:at(stack))
  scan.vlan_texts[stack] = vlans
  return { stack = stack, vlans = vlans, mac = mac, seconds = seconds, sent_by = source,
    ip = addr.ip4_text(scan.targets:at(i % scan.targets.count)), owners = scan.questions[i].owners }
end

-- One answer: an address has several where several MAC addresses have answered.
---@class etherlua.arp_answer
---@field ip string
---@field mac string
---@field sent_by? string source of the frame, where that is another MAC address
---@field vlans string such as "100.200"; "" untagged
---@field stack integer number of the VLAN stack, from 0
---@field seconds number
---@field owners integer MAC addresses that have answered for the address

-- The first question from the i-th on that was answered. No loop (JIT 1).
local function next_answered(scan, i)
  if i >= scan.count or scan.questions[i].owners > 0 then return i end
  return next_answered(scan, i + 1)
end

-- The answers by VLAN stack and address, for a `for` loop.
---@return fun(): etherlua.arp_answer|nil
function Scan:answers()
  local i, at, list = -1, 0, nil
  return function()
    at = at + 1
    if list and list[at] then return answer_of(self, i, list[at].mac, list[at].seconds, list[at].sent_by) end
    i = next_answered(self, i + 1)
    if i >= self.count then return nil end
    at, list = 0, self.others[i]
    local question = self.questions[i]
    return answer_of(self, i, addr.mac_text(ffi.string(question.mac, 6)), question.took / 1e6, self.senders[i])
  end
end

-- The answers that came with another VLAN stack than asked.
---@return { stack: integer, vlans: string, came_with: string, ip: string, mac: string, sent_by: string?,
---  seconds: number }[] leaks vlans: that was asked, of which stack is the number; sent_by: as of an answer
function Scan:leaks()
  return role.copy(self.leaked)
end

---@class etherlua.arp_scan_summary
---@field mac string own MAC address on the first VLAN stack
---@field questions integer addresses times VLAN stacks
---@field sent integer
---@field unsent integer for the reason that is in `reason`
---@field reason? string
---@field pass integer 1 and up: how often each address was asked so far, the present time included
---@field answered integer questions that were
---@field duplicates integer questions that several MAC addresses have answered
---@field leaks integer answers that came with another VLAN stack
---@field repeated integer answers that said the same again
---@field ignored integer ARP packets that are no answers to us
---@field unlisted integer owners and leaks beyond the limits
---@field times etherlua.summary until the first answers

-- What of a summary adds up with that of other scans, such as those of the ranks of a run; times is a histogram.
---@return table
function Scan:totals()
  return { questions = self.count, sent = self.sent, unsent = self.unsent, answered = self.answered,
    duplicates = self.duplicates, leaks = #self.leaked, repeated = self.repeated, ignored = self.ignored,
    unlisted = self.unlisted, times = self.times }
end

---@return etherlua.arp_scan_summary
function Scan:summary()
  local values = self:totals()
  values.mac, values.reason, values.pass, values.times = tostring(self.mac), self.reason, self.pass,
    self.times:summary()
  return values
end

-- ---- opening ------------------------------------------------------------------------------------------------------

local function check_size(opts)
  if opts.vlans.count > M.STACKS_MAX then
    misuse.raise("%.0f VLAN stacks are too many: up to %d are possible", opts.vlans.count, M.STACKS_MAX)
  end
  local count = opts.targets.count * opts.vlans.count
  if count > M.QUESTIONS_MAX then
    misuse.raise("%.0f addresses are too many, %.1f hours at %g a second: up to %d are possible", count,
      count / opts.rate / 3600, opts.rate, M.QUESTIONS_MAX)
  end
  return count
end

-- The defaults are in brackets.
---@class etherlua.arp_scan_opts
---@field targets etherlua.ip_range who is asked for
---@field vlans etherlua.vlan_range on which VLAN stacks
---@field mac string own MAC address on the first VLAN stack; it counts up
---@field source? string own IPv4 address ("0.0.0.0": probes)
---@field rate? number questions a second (1000)
---@field tries? integer how often somebody who does not answer is asked, 1 to 255 (2)
---@field timeout? number seconds that an answer may take (0.5)

local OPTIONS = options.new("an ARP scan", {
  targets = options.of_type("what ip_range.new returns is needed", "table"):needed(),
  vlans = options.of_type("what vlan_range.new returns is needed", "table"):needed(),
  mac = options.any():needed(), source = options.any(), rate = options.number(1e-6, 1e9, 1000),
  tries = options.whole(1, 255, 2), timeout = options.seconds(0.5),
})

-- Raises an error for options that are none, and when the scan is too large: without a relay yet.
---@param given etherlua.arp_scan_opts
---@return table opts all of them
---@return integer count questions
function M.check(given)
  local opts = OPTIONS:read(given)
  return opts, check_size(opts)
end

-- A scan; nothing is opened yet. Raises as check().
---@param relay etherlua.relay
---@param given etherlua.arp_scan_opts
---@return etherlua.arp_scan
function M.new(relay, given)
  role.check("an ARP scan", relay, "relay")
  local opts, count = M.check(given)
  return setmetatable({ relay = relay, targets = opts.targets, vlans = opts.vlans, mac = addr.mac(opts.mac),
    rate = opts.rate, tries = opts.tries, timeout = opts.timeout, questions = questions_t(count), count = count,
    template = arp_fast.template { spa = opts.source }, conns = {}, others = {}, others_count = 0, senders = {},
    senders_count = 0, leaked = {}, vlan_texts = {}, began = sched.now(), pass = 0, sent = 0, turned = 0, unsent = 0,
    answered = 0, duplicates = 0, repeated = 0, ignored = 0, unlisted = 0, times = histogram.new() }, Scan)
end

-- Opens an endpoint for each VLAN stack and the relay's default one, which nobody else may have then.
function Scan:open()
  if self.stray or self.closed then return end
  local relay = self.relay
  for stack = 0, self.vlans.count - 1 do
    local conn = relay:conn { mac = addr.mac_add(self.mac, stack), vlans = self.vlans:at(stack), ethertypes = { ARP },
      multicast = true }
    self.conns[stack] = conn
    role.help(self, read, self, conn, stack)
    if stack % 1000 == 999 then sched.sleep(0) end
  end
  self.stray = relay:default_conn()
  role.help(self, read, self, self.stray)
end

-- Closes what open() opened.
function Scan:close()
  if not role.close(self) then return end
  for stack = 0, self.vlans.count - 1 do
    if self.conns[stack] then self.conns[stack]:close() end
  end
  if self.stray then self.stray:close() end
end

return M
