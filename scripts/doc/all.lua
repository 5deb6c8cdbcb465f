-- all.lua: makes the manual and the reference: HTML pages for people, definitions for editors. The reference comes from
-- the sources' annotations; what is missing there is an error that names the line.
--
--   luajit scripts/doc/all.lua build/doc

package.path = (arg[0]:match("^(.*/)") or "./") .. "?.lua;" .. package.path
local html = require "html"
local luals = require "luals"
local manual = require "manual"
local model = require "model"

local function fail(...)
  io.stderr:write("doc: ", string.format(...), "\n")
  os.exit(1)
end

local out = arg[1] or fail("no folder given: luajit scripts/doc/all.lua FOLDER")

local function write(path, text)
  local file, reason = io.open(out .. "/" .. path, "w")
  if not file then fail("cannot write %s", reason) end
  file:write(text)
  file:close()
end

local function read(path)
  local file, reason = io.open(path)
  if not file then fail("cannot read %s", reason) end
  local text = file:read "*a"
  file:close()
  return text
end

local function make_folder(path)
  local quoted = "'" .. (out .. "/" .. path):gsub("'", "'\\''") .. "'"
  if os.execute("mkdir -p " .. quoted) ~= 0 then fail("cannot make folder %s/%s", out, path) end
end

-- "etherlua.proto.arp" as the file that require looks for.
local function module_file(page)
  local path = page.name:gsub("%.", "/")
  return path .. (page.path:find "/init%.lua$" and "/init.lua" or ".lua")
end

local pages = model.read()
local complaints = model.check(pages)
for _, text in ipairs(complaints) do io.stderr:write(text, "\n") end
if #complaints > 0 then fail("%d things are not documented", #complaints) end

html.link(pages)
for _, page in ipairs(pages) do
  local definitions = "luals/" .. module_file(page)
  make_folder(definitions:match "^(.*)/")
  write(html.file(page), html.page(page))
  write(definitions, luals.text(page))
end
write("abi.html", html.abi(read "engine/abi.h"))
local chapters = manual.chapters()
for i, chapter in ipairs(chapters) do
  local body, reason = manual.html(chapter)
  write(chapter.name .. ".html", html.chapter(chapter, body or fail("%s: %s", chapter.path, reason), chapters[i + 1]))
end
write("index.html", html.index(pages, chapters))
print(("%d pages in %s"):format(#pages + #chapters + 2, out))
