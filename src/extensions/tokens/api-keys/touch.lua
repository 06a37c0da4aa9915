-- Notes that a key was used, at most once in a while.
-- KEYS[1]  when it was used, ms since the epoch
-- ARGV[1]  while, ms
-- ARGV[2]  how long that is remembered, ms
-- Reply: when it was noted, or 0
local last = tonumber(redis.call('GET', KEYS[1]) or '0') or 0
if last + tonumber(ARGV[1]) > now and last <= now then return 0 end
redis.call('SET', KEYS[1], whole(now))
keep(KEYS[1], tonumber(ARGV[2]))
return now
