-- net/numbers.lua: assigned numbers that several modules use, by name. What only one protocol knows, such as its
-- message types, stands in its own module.

local M = {}

-- EtherTypes (IANA, IEEE 802 Numbers); those of VLAN tags are TPIDs (IEEE 802.1Q section 9.6).
---@type table<string, integer>
M.ethertype = { IPV4 = 0x0800, ARP = 0x0806, DOT1Q = 0x8100, IPV6 = 0x86dd, DOT1AD = 0x88a8, QINQ = 0x9100 }

-- Protocols in IP headers (IANA, Assigned Internet Protocol Numbers).
---@type table<string, integer>
M.protocol = { ICMP = 1, TCP = 6, UDP = 17, ICMP6 = 58 }

return M
