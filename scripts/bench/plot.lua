-- plot.lua: a plot of lines as SVG: both axes logarithmic, in whole decades.

local M = {}

local WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 440, 70, 40, 50, 60
local COLOURS = { "#1f5fa8", "#c2571a", "#2c8a4b", "#8a3fa0" } -- told apart by dashes too
local DASHES = { "", "8 4", "2 4", "8 4 2 4" }

local function extent(series, index)
  local low, high = math.huge, 0
  for _, one in ipairs(series) do
    for _, point in ipairs(one.points) do
      low, high = math.min(low, point[index]), math.max(high, point[index])
    end
  end
  low, high = math.floor(math.log10(low)), math.ceil(math.log10(high))
  return { low = low, high = math.max(high, low + 1) }
end

-- Where on the paper a value is.
local function scale(range, from, to)
  return function(value) return from + (math.log10(value) - range.low) / (range.high - range.low) * (to - from) end
end

local function text(x, y, anchor, what, more)
  return ('<text x="%.1f" y="%.1f" text-anchor="%s"%s>%s</text>'):format(x, y, anchor, more or "", what)
end

local function line(x1, y1, x2, y2, colour, dash)
  return ('<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s" stroke-width="%s" stroke-dasharray="%s"/>'):format(
    x1, y1, x2, y2, colour, dash and 2 or 1, dash or "")
end

local function decade(exponent)
  local digits = ("%d"):format(10 ^ math.max(exponent, 0)):reverse():gsub("(%d%d%d)", "%1,"):reverse():gsub("^,", "")
  return exponent < 0 and ("%g"):format(10 ^ exponent) or digits
end

local function axes(out, xs, ys, x, y)
  for exponent = xs.low, xs.high do
    local at = x(10 ^ exponent)
    out[#out + 1] = line(at, TOP, at, HEIGHT - BOTTOM, "#dddddd")
    out[#out + 1] = text(at, HEIGHT - BOTTOM + 18, "middle", decade(exponent))
  end
  for exponent = ys.low, ys.high do
    local at = y(10 ^ exponent)
    out[#out + 1] = line(LEFT, at, WIDTH - RIGHT, at, "#dddddd")
    out[#out + 1] = text(LEFT - 8, at + 4, "end", decade(exponent))
  end
end

local function curve(out, number, one, x, y)
  local parts, colour, dash = {}, COLOURS[number], DASHES[number]
  for i, point in ipairs(one.points) do
    local px, py = x(point[1]), y(point[2])
    parts[i] = ("%.1f,%.1f"):format(px, py)
    out[#out + 1] = ('<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>'):format(px, py, colour)
  end
  out[#out + 1] = ('<polyline fill="none" stroke="%s" stroke-width="2" stroke-dasharray="%s" points="%s"/>'):format(
    colour, dash, table.concat(parts, " "))
  local at = TOP + 18 * number
  out[#out + 1] = line(LEFT + 12, at - 4, LEFT + 48, at - 4, colour, dash)
  out[#out + 1] = text(LEFT + 56, at, "start", one.name)
end

---@param plot table title, x and y (what the axes say), series = list of up to 4 { name =, points = list of { x, y },
---  positive numbers }
---@return string SVG
function M.svg(plot)
  local xs, ys = extent(plot.series, 1), extent(plot.series, 2)
  local x, y = scale(xs, LEFT, WIDTH - RIGHT), scale(ys, HEIGHT - BOTTOM, TOP)
  local out = {
    ('<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="13">'):format(
      WIDTH, HEIGHT),
    '<rect width="100%" height="100%" fill="white"/>',
    text(WIDTH / 2, 26, "middle", plot.title, ' font-size="16"'),
    text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 16, "middle", plot.x),
    text(18, HEIGHT / 2, "middle", plot.y, (' transform="rotate(-90 18 %d)"'):format(HEIGHT / 2)),
  }
  axes(out, xs, ys, x, y)
  for i, one in ipairs(plot.series) do curve(out, i, one, x, y) end
  out[#out + 1] = "</svg>\n"
  return table.concat(out, "\n")
end

---@param path string
---@param plot table as M.svg
function M.write(path, plot)
  local file = assert(io.open(path, "w"))
  file:write(M.svg(plot))
  file:close()
end

return M
