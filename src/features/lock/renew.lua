-- Renews a lock that its owner still holds.
-- KEYS[1]  the lock
-- ARGV[1]  owner
-- ARGV[2]  lease from now on, ms
-- Reply: 1; 0: the owner does not hold it
local lock = redis.call('HMGET', KEYS[1], 'owner', 'until')
if lock[1] ~= ARGV[1] or tonumber(lock[2]) <= now then return 0 end
redis.call('HSET', KEYS[1], 'until', whole(now + tonumber(ARGV[2])))
keep(KEYS[1], tonumber(ARGV[2]))
return 1
