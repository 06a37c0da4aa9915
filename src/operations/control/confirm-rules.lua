-- Notes which version of the rules a process holds.
-- KEYS[1]  versions by process
-- ARGV[1]  the process
-- ARGV[2]  its version
-- ARGV[3]  largest number of processes
-- ARGV[4]  time to live, ms
-- Reply: number of processes
local isNew = redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0
-- Processes that have ended stay. To forget all is safe: those that live are asked again.
if isNew and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[3]) then redis.call('UNLINK', KEYS[1]) end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
keep(KEYS[1], ARGV[4])
return redis.call('HLEN', KEYS[1])
