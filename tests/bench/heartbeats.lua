-- wrk: heartbeats that count. Each request is the next peer's, with that peer's next sequence.
-- Arguments: the file of tokens (first line: known_sha256; then per peer: token, announcement_sha256), the sequence
-- to begin above.

local heads, tails, sequences = {}, {}, {}
local next_peer, peers = 0, 0

function init(args)
  local lines = io.lines(args[1])
  local known = lines()
  for line in lines do
    local token, announcement = line:match("^(%S+) (%S+)$")
    peers = peers + 1
    heads[peers] = "POST /mesh/v1/heartbeat HTTP/1.1\r\nHost: " .. wrk.host .. ":" .. wrk.port ..
      "\r\nAuthorization: Bearer " .. token .. "\r\nContent-Type: application/json\r\nContent-Length: "
    tails[peers] = ',"announcement_sha256":"' .. announcement .. '","known_sha256":"' .. known .. '"}'
    sequences[peers] = tonumber(args[2])
  end
end

function request()
  next_peer = next_peer % peers + 1
  local sequence = sequences[next_peer] + 1
  sequences[next_peer] = sequence
  local body = string.format('{"epoch":1,"sequence":%d', sequence) .. tails[next_peer]
  return heads[next_peer] .. #body .. "\r\n\r\n" .. body
end

function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '{"requests":%d,"seconds":%.6f,"refused":%d,"broken":%d,"p99_ms":%.3f}\n',
    summary.requests, summary.duration / 1e6, e.status, e.connect + e.read + e.write + e.timeout,
    latency:percentile(99) / 1000))
end
