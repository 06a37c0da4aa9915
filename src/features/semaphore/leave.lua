-- Gives a place back, leaves the line, and tells who waits.
-- KEYS[1]  the places
-- KEYS[2]  the line: who came when
-- KEYS[3]  the line: until when each counts as there
-- ARGV[1]  owner
-- ARGV[2]  channel of those who wait
-- Reply: 1; 0: the owner had no place, or no more
local ends = redis.call('ZSCORE', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[1], ARGV[1])
step_out(KEYS[2], KEYS[3], ARGV[1])
call_next(KEYS[2], KEYS[3], ARGV[1], ARGV[2])
return (ends and tonumber(ends) > now) and 1 or 0
