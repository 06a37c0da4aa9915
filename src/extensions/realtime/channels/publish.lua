-- Appends a message to the history of a topic and publishes it.
-- KEYS[1]  stream: the history. Each entry names its predecessor, so that a gap shows.
-- ARGV[1]  message, JSON
-- ARGV[2]  most messages of the history. The oldest ones are removed.
-- ARGV[3]  time to live of the history after its last message, ms
-- ARGV[4]  channel
-- ARGV[5]  sequence number of the first message of a millisecond. It is random, so that the topics of
--          two databases have different IDs: they share a channel.
-- Reply: ID of the message
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
local previous = last and last[1] or '0-0'
local ms, sequence = string.match(previous, '^(%d+)%-(%d+)$')
-- IDs grow even if the clock is set back.
local id = tonumber(ms) < now and whole(now) .. '-' .. ARGV[5] or ms .. '-' .. whole(tonumber(sequence) + 1)
redis.call('XADD', KEYS[1], 'MAXLEN', ARGV[2], id, 'p', previous, 'd', ARGV[1])
keep(KEYS[1], tonumber(ARGV[3]))
redis.call('PUBLISH', ARGV[4], id .. ' ' .. previous .. ' ' .. ARGV[1])
return id
