-- New orders for wrk: a fresh idempotency key and one of 100,000 random users in each, otherwise the body of
-- `zizon load orders`. The argument after `--` names the run, so that keys of different runs differ; a seed follows.
--
-- What wrk spends on a request is missing to the platform on the same machine. So every piece of text is made before the
-- run, and a request is one concatenation of them.

dofile((debug.getinfo(1, "S").source:match("^@(.*/)") or "") .. "wrk_result.lua")

local random = math.random
local thousand, hundred = {}, {} -- "000" to "999" at 0 to 999, "load_00000" to "load_00099" at 0 to 99
local head, middle, tail
local high, low = -1, 999 -- of the number of requests: thousands and the rest
local counted -- all before the key's last three digits: what follows the user, the run, the thousands

function init(args)
  local run = string.format("%014s", args[1] or "0"):gsub(" ", "0"):sub(1, 14)
  math.randomseed(tonumber(args[2] or "1"))
  for n = 0, 999 do thousand[n] = string.format("%03d", n) end
  for n = 0, 99 do hundred[n] = string.format("load_%05d", n) end
  local user, key = "load_00000000", string.rep("k", 26)
  local body = '{"user_id":"' .. user .. '","items":[{"product_id":"PROD001","quantity":1,"price":2690000}],' ..
    '"idempotency_key":"' .. key .. '"}'
  local text = wrk.format("POST", "/api/v1/orders", { ["Content-Type"] = "application/json" }, body)
  local user_at = text:find(user, 1, true)
  local key_at = text:find(key, 1, true)
  head = text:sub(1, user_at - 1)
  middle = text:sub(user_at + #user, key_at - 1) .. run
  tail = text:sub(key_at + #key)
end

function request()
  low = low + 1
  if low == 1000 then
    high, low = high + 1, 0
    counted = middle .. string.format("%09d", high)
  end
  return head .. hundred[random(0, 99)] .. thousand[random(0, 999)] .. counted .. thousand[low] .. tail
end
