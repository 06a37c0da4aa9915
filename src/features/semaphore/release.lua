-- Releases a permit, leaves the queue and notifies the waiters.
-- KEYS[1]  the permits
-- KEYS[2]  times of the acquisitions
-- KEYS[3]  the queue: waiters by time of arrival
-- KEYS[4]  the queue: time until which each waiter counts as present
-- ARGV[1]  owner
-- ARGV[2]  channel of the waiters
-- Reply: 1; 0: the owner did not hold one
local ends = redis.call('ZSCORE', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
dequeue(KEYS[3], KEYS[4], ARGV[1])
notify(KEYS[3], KEYS[4], ARGV[1], ARGV[2])
return (ends and tonumber(ends) > now) and 1 or 0
