-- Releases a lock in its holder's place, and notifies the waiters.
-- KEYS[1]  the lock
-- KEYS[2]  the queue: waiters by time of arrival
-- KEYS[3]  the queue: time until which each waiter counts as present
-- ARGV[1]  fencing token of the holder; empty: any holder
-- ARGV[2]  channel of the waiters
-- Reply: 1; 0: no holder has it, or not under this token
local lock = redis.call('HMGET', KEYS[1], 'owner', 'token', 'until')
if not lock[1] or lock[1] == '' or (tonumber(lock[3]) or 0) <= now then return 0 end
if ARGV[1] ~= '' and lock[2] ~= ARGV[1] then return 0 end
redis.call('UNLINK', KEYS[1])
notify(KEYS[2], KEYS[3], '', ARGV[2])
return 1
