std = "luajit"
max_line_length = 120
self = false -- a method may ignore its object
files["spec"] = { std = "+busted" }
files["scripts/examples"] = { std = "+busted" }
