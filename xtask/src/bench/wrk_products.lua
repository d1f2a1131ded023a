-- Reads of random products for wrk. Arguments after `--`: how many products there are, and a seed.

dofile((debug.getinfo(1, "S").source:match("^@(.*/)") or "") .. "wrk_result.lua")

local before, after
local count = 1

function init(args)
  count = tonumber(args[1] or "1")
  math.randomseed(tonumber(args[2] or "1"))
  local text = wrk.format("GET", "/api/v1/products/B000000")
  local at = text:find("B000000", 1, true)
  before, after = text:sub(1, at), text:sub(at + 7)
end

function request()
  return before .. string.format("%06d", math.random(0, count - 1)) .. after
end
