-- runner.lua: as the command busted.

require "busted.runner" { standalone = false }
