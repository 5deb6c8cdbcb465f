-- manual.lua: the README and the chapters of the manual as HTML. cmark-gfm makes it out of Markdown, in the dialect
-- that forges show. Here headings get the names that forges give them, and links lead to the pages of the reference.

local M = {}

local FOLDER, README = "scripts/doc/manual/", "README.md"

-- Its first heading, and its name without folder and ending.
local function chapter_of(path)
  local file = io.open(path) or error(path .. " is missing", 0)
  local title = file:read("*l"):match "^# (.+)$" or error(path .. ":1: a title is missing: # TITLE", 0)
  file:close()
  return { path = path, title = title, name = path:match "([^/]+)%.md$":lower() }
end

-- In the order of their numbers, behind the README.
---@return table[] chapters path, title, name (of the page, without .html)
function M.chapters()
  local list, listing = { chapter_of(README) }, io.popen("LC_ALL=C ls " .. FOLDER .. "*.md")
  for path in listing:lines() do list[#list + 1] = chapter_of(path) end
  listing:close()
  list[1].title = "README"
  return list
end

-- "The objects" as the-objects, as forges do.
local function anchor(heading)
  return (heading:gsub("<[^>]*>", ""):gsub("&%w+;", ""):lower():gsub("[^%w_ -]", ""):gsub(" ", "-"))
end

local function with_anchors(html)
  return (html:gsub("<h([2-4])>(.-)</h%1>", function(level, text)
    return ('<h%s id="%s">%s</h%s>'):format(level, anchor(text), text, level)
  end))
end

local function with_pages(html)
  return (html:gsub('href="([^":]-)([^"/:]+)%.md(#?[^"]*)"', function(_, name, place)
    return ('href="%s.html%s"'):format(name:lower(), place)
  end))
end

-- The HTML of a chapter, without head.
---@param chapter table from chapters()
---@return string|nil html
---@return string|nil reason
function M.html(chapter)
  local converter = io.popen("cmark-gfm --unsafe -e table '" .. chapter.path .. "'")
  local html = converter:read "*a"
  converter:close()
  if html == "" then return nil, "cmark-gfm is missing or failed (make deps installs it)" end
  return with_pages(with_anchors(html))
end

return M
