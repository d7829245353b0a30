-- Every request has a number, which the tool repeats in its body. A response counts as right if its
-- status and body are those of a request that is still unanswered.
-- Arguments: host, cookie, bytes of a right body.

local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  number = 0
  wrong = 0
  example = ""
  unanswered = {}
  tail = " HTTP/1.1\r\nHost: " .. args[1] .. "\r\nCookie: " .. args[2] .. "\r\n\r\n"
  padding = " " .. string.rep("x", tonumber(args[3]) - 9)
end

function request()
  number = number + 1
  local id = string.format("%08d", number)
  unanswered[id] = true
  return "GET /lab?n=" .. id .. tail
end

function response(status, headers, body)
  local id = string.sub(body, 1, 8)
  if status == 200 and unanswered[id] and body == id .. padding then
    unanswered[id] = nil
  else
    wrong = wrong + 1
    example = status .. " " .. string.sub(body, 1, 100)
  end
end

function done(summary, latency, requests)
  local wrong, example = 0, ""
  for _, thread in ipairs(threads) do
    wrong = wrong + thread:get("wrong")
    if thread:get("example") ~= "" then example = thread:get("example") end
  end
  local errors = summary.errors
  io.write(string.format(
    '\nSUMMARY {"requests": %d, "microseconds": %d, "wrong": %d, "socket_errors": %d, "timeouts": %d}\n',
    summary.requests, summary.duration, wrong,
    errors.connect + errors.read + errors.write, errors.timeout))
  io.write("EXAMPLE " .. example:gsub("%c", " ") .. "\n")
end
