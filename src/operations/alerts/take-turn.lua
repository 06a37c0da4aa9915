-- Lets one process check all alerts in each interval.
-- KEYS[1]  when a process began to check, ms since the epoch
-- ARGV     ms of the interval
-- Reply: 1 if it is this process
local began = tonumber(redis.call('GET', KEYS[1]) or '0')
-- A time in the future is of a clock that was set back.
if began <= now and now - began < tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], whole(now))
keep(KEYS[1], ARGV[1])
return 1
