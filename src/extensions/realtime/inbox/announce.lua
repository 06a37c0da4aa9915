-- Adds an announcement, and publishes it if its time has begun. A known ID changes nothing.
-- ARGV[1]  ID
-- ARGV[2]  data, JSON
-- ARGV[3]  time from which it is shown, ms since the epoch; 0: now
-- ARGV[4]  time until which it is shown; 0: for ARGV[5] ms
-- ARGV[5]  longest time for which an announcement is shown, ms
-- ARGV[6]  most announcements
-- ARGV[7] to ARGV[10]  most messages of the history, its time to live, channel, first sequence number
-- Reply: 1; 0 for a known ID; -1: there are too many; -2: its time is over, or too long
local id, from, till, longest = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
trim()
if redis.call('ZSCORE', KEYS[2], id) then return 0 end
if from == 0 then from = now end
if till == 0 then till = from + longest end
if till <= now or till <= from or till > math.max(from, now) + longest then return -2 end
if redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[6]) then return -1 end
local announcement = '"id":"' .. id .. '","from":' .. whole(from) .. ',"until":' .. whole(till)
  .. ',"data":' .. ARGV[2]
redis.call('ZADD', KEYS[1], whole(from), id)
redis.call('ZADD', KEYS[2], whole(till), id)
redis.call('HSET', KEYS[3], id, announcement)
local last = tonumber(redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')[2])
for i = 1, 3 do keep(KEYS[i], last - now) end
if from <= now then
  append(KEYS[4], '{"type":"announcement","announcement":{' .. announcement .. '}}',
    ARGV[7], ARGV[8], ARGV[9], ARGV[10])
end
return 1
