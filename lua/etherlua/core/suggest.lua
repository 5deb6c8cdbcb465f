-- core/suggest.lua: which known name somebody may have meant who wrote one that nobody knows.

local M = {}

local min = math.min

-- How many letters have to be put in, left out, changed, or swapped with their neighbour (Damerau-Levenshtein, without
-- touching a letter twice).
local function distance(a, b)
  local rows = { [0] = {} }
  for j = 0, #b do rows[0][j] = j end
  for i = 1, #a do
    local row, last = { [0] = i }, rows[i - 1]
    rows[i] = row
    for j = 1, #b do
      local same = a:byte(i) == b:byte(j)
      row[j] = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (same and 0 or 1))
      if i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        row[j] = min(row[j], rows[i - 2][j - 2] + 1)
      end
    end
  end
  return rows[#a][#b]
end

local function plain(name)
  return tostring(name):lower():gsub("[_-]", "")
end

-- The nearest of some names, if one is near: a letter or two apart, or one begins with the other.
---@param name any
---@param names string[]
---@return string|nil
function M.nearest(name, names)
  local wanted, best, least = plain(name), nil, math.huge
  for _, known in ipairs(names) do
    local candidate = plain(known)
    local apart = distance(wanted, candidate)
    local prefix = #wanted > 2 and #candidate > 2 and
      (candidate:sub(1, #wanted) == wanted or wanted:sub(1, #candidate) == candidate)
    local allowed = prefix and math.huge or min(2, math.floor(#wanted / 3))
    if apart <= allowed and apart < least then best, least = known, apart end
  end
  return best
end

-- Words for an error about a name: a suggestion if there is one, and all names that are known.
---@param name any
---@param names string[]
---@return string such as ', did you mean "vlans"? known are: mac, vlans'
function M.words(name, names)
  local sorted = { unpack(names) }
  table.sort(sorted)
  local near = M.nearest(name, sorted)
  return (near and (", did you mean %q?"):format(near) or ":") .. " known are: " .. table.concat(sorted, ", ")
end

return M
