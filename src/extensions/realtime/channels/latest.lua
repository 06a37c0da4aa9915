-- Stands in front of the scripts that read a history.

-- Returns the ID of the latest message of a topic or '', and a position before any message from now on.
-- key  stream: the history
local function latest(key)
  local last = redis.call('XREVRANGE', key, '+', '-', 'COUNT', 1)[1]
  -- A position without a message names the run of the server: a restart may have lost messages.
  local run = tonumber(string.sub(string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') or '0', 1, 6), 16)
  return last and last[1] or '', whole(now - 1) .. '-' .. whole(run + 10000)
end
