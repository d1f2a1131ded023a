-- New orders for wrk: a fresh idempotency key and a random user in each, otherwise the body of `zizon load orders`.
-- The argument after `--` names the run, so that keys of different runs differ.

local head, middle, tail
local run, sent = "0", 0

function init(args)
  run = string.format("%014s", args[1] or "0"):gsub(" ", "0"):sub(1, 14)
  math.randomseed(tonumber(args[2] or "1"))
  local user, key = "load_00000000", string.rep("k", 26)
  local body = '{"user_id":"' .. user .. '","items":[{"product_id":"PROD001","quantity":1,"price":2690000}],' ..
    '"idempotency_key":"' .. key .. '"}'
  local text = wrk.format("POST", "/api/v1/orders", { ["Content-Type"] = "application/json" }, body)
  local user_at = text:find("load_00000000", 1, true) + 5
  local key_at = text:find(key, 1, true)
  head = text:sub(1, user_at - 1)
  middle = text:sub(user_at + 8, key_at - 1)
  tail = text:sub(key_at + 26)
end

function request()
  sent = sent + 1
  return table.concat({ head, string.format("%08d", math.random(0, 99999)), middle, run,
    string.format("%012d", sent), tail })
end

function done(summary, latency, requests)
  local errors = summary.errors
  print(string.format(
    'RESULT {"requests":%d,"duration_us":%d,"status_errors":%d,"socket_errors":%d,"p50_us":%d,"p99_us":%d}',
    summary.requests, summary.duration, errors.status, errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
