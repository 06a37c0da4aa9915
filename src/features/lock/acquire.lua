-- Acquires a lock. Its present owner acquires it again under the same token.
-- KEYS[1]  the lock: a hash of owner, token, since, until (times in ms since the epoch)
-- KEYS[2]  the last fencing token
-- KEYS[3]  the queue: waiters by time of arrival
-- KEYS[4]  the queue: time until which each waiter counts as present
-- ARGV[1]  owner
-- ARGV[2]  lease, ms
-- ARGV[3]  lifetime of a place in the queue, ms; 0: the queue is not used
-- Reply: { 1, token }
--        { 0, ms until it may be free, ms for which its owner has had it }
local owner, lease, queue_ttl = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local lock = redis.call('HMGET', KEYS[1], 'owner', 'until', 'token', 'since')
local left = (tonumber(lock[2]) or 0) - now
if left > 0 and lock[1] == owner then
  redis.call('HSET', KEYS[1], 'until', whole(now + lease))
  keep(KEYS[1], lease)
  return { 1, tonumber(lock[3]) }
end
if queue_ttl > 0 then
  local before = enqueue(KEYS[3], KEYS[4], owner, queue_ttl)
  if left <= 0 and before > 0 then
    local first = redis.call('ZRANGE', KEYS[3], 0, 0)[1]
    return { 0, math.max(1, tonumber(redis.call('ZSCORE', KEYS[4], first)) - now), 0 }
  end
end
if left > 0 then return { 0, left, now - (tonumber(lock[4]) or now) } end
-- Microseconds: tokens grow even if the counter was lost. At least one more: they grow even if the clock is set back.
local token = math.max((tonumber(redis.call('GET', KEYS[2])) or 0) + 1, micros)
redis.call('SET', KEYS[2], whole(token), 'PX', 604800000)
redis.call('HSET', KEYS[1], 'owner', owner, 'token', whole(token), 'since', whole(now), 'until', whole(now + lease))
keep(KEYS[1], lease)
if queue_ttl > 0 then dequeue(KEYS[3], KEYS[4], owner) end
return { 1, token }
