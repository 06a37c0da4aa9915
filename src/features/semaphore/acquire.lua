-- Acquires a permit, or keeps the one that the owner has.
-- KEYS[1]  the permits: owners by the end of their leases, ms since the epoch
-- KEYS[2]  a hash of owners and the times of their acquisitions, ms since the epoch
-- KEYS[3]  the queue: waiters by time of arrival
-- KEYS[4]  the queue: time until which each waiter counts as present
-- ARGV[1]  owner
-- ARGV[2]  limit: number of permits
-- ARGV[3]  lease, ms
-- ARGV[4]  lifetime of a place in the queue, ms; 0: the queue is not used
-- Reply: { 1, permits held }, or { 0, ms until one may be free }
local owner, limit, lease, queue_ttl = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
-- Permits of crashed holders, in batches: unpack() takes a few thousand values.
while true do
  local expired = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', whole(now), 'LIMIT', 0, 1000)
  if #expired == 0 then break end
  redis.call('ZREM', KEYS[1], unpack(expired))
  redis.call('HDEL', KEYS[2], unpack(expired))
end
local held = redis.call('ZCARD', KEYS[1])
if not redis.call('ZSCORE', KEYS[1], owner) then
  local before = queue_ttl > 0 and enqueue(KEYS[3], KEYS[4], owner, queue_ttl) or 0
  if held + before >= limit then
    local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
    return { 0, first[2] and tonumber(first[2]) - now or queue_ttl > 0 and queue_ttl or lease }
  end
  held = held + 1
  redis.call('HSET', KEYS[2], owner, whole(now))
  if queue_ttl > 0 then dequeue(KEYS[3], KEYS[4], owner) end
end
keep_permit(KEYS[1], KEYS[2], owner, lease)
return { 1, held }
