-- Releases a lock, leaves the queue and notifies the waiters.
-- KEYS[1]  the lock
-- KEYS[2]  the queue: waiters by time of arrival
-- KEYS[3]  the queue: time until which each waiter counts as present
-- ARGV[1]  owner
-- ARGV[2]  channel of the waiters
-- Reply: 1; 0: the owner did not hold it
local lock = redis.call('HMGET', KEYS[1], 'owner', 'until')
local left = (tonumber(lock[2]) or 0) - now
dequeue(KEYS[2], KEYS[3], ARGV[1])
if lock[1] == ARGV[1] then redis.call('UNLINK', KEYS[1]) end
if lock[1] == ARGV[1] or left <= 0 then notify(KEYS[2], KEYS[3], ARGV[1], ARGV[2]) end
return (lock[1] == ARGV[1] and left > 0) and 1 or 0
