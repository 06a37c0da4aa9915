-- Stands in front of the scripts that publish.

-- Appends a message to the history of a topic and publishes it. Returns its ID.
-- key      stream: the history. Each entry names its predecessor, so that a gap shows.
-- message  JSON
-- most     most messages of the history. The oldest ones are removed.
-- ttl      time to live of the history after its last message, ms
-- first    sequence number of the first message of a millisecond. It is random, so that the topics of
--          two databases have different IDs: they share a channel.
local function append(key, message, most, ttl, channel, first)
  local last = redis.call('XREVRANGE', key, '+', '-', 'COUNT', 1)[1]
  local previous = last and last[1] or '0-0'
  local ms, sequence = string.match(previous, '^(%d+)%-(%d+)$')
  -- IDs grow even if the clock is set back.
  local id = tonumber(ms) < now and whole(now) .. '-' .. first or ms .. '-' .. whole(tonumber(sequence) + 1)
  redis.call('XADD', key, 'MAXLEN', most, id, 'p', previous, 'd', message)
  keep(key, tonumber(ttl))
  redis.call('PUBLISH', channel, id .. ' ' .. previous .. ' ' .. message)
  return id
end
