-- Gives a lock back, leaves the line, and tells who waits.
-- KEYS[1]  the lock
-- KEYS[2]  the line: who came when
-- KEYS[3]  the line: until when each counts as there
-- ARGV[1]  owner
-- ARGV[2]  channel of those who wait
-- Reply: 1; 0: the owner had it no more, or never
local lock = redis.call('HMGET', KEYS[1], 'owner', 'until')
local left = (tonumber(lock[2]) or 0) - now
step_out(KEYS[2], KEYS[3], ARGV[1])
if lock[1] == ARGV[1] then redis.call('UNLINK', KEYS[1]) end
if lock[1] == ARGV[1] or left <= 0 then call_next(KEYS[2], KEYS[3], ARGV[1], ARGV[2]) end
return (lock[1] == ARGV[1] and left > 0) and 1 or 0
