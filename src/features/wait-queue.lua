-- Stands before the scripts of locks and semaphores: a fair queue of waiters, in two sorted sets.
-- `queue` has each waiter's time of arrival, `alive` the time until which it counts as present.
-- Removes the waiters that have not asked again in time.
local function sweep(queue, alive)
  for _, gone in ipairs(redis.call('ZRANGEBYSCORE', alive, '-inf', whole(now))) do
    redis.call('ZREM', queue, gone)
    redis.call('ZREM', alive, gone)
  end
end

-- Adds `owner` to the queue, or renews its place. Returns the number of waiters before it.
local function enqueue(queue, alive, owner, ttl)
  sweep(queue, alive)
  if not redis.call('ZSCORE', queue, owner) then
    local last = redis.call('ZRANGE', queue, -1, -1, 'WITHSCORES')
    redis.call('ZADD', queue, whole(math.max(micros, (tonumber(last[2]) or 0) + 1)), owner)
  end
  redis.call('ZADD', alive, whole(now + ttl), owner)
  keep(queue, ttl + 60000)
  keep(alive, ttl + 60000)
  return redis.call('ZRANK', queue, owner)
end

local function dequeue(queue, alive, owner)
  redis.call('ZREM', queue, owner)
  redis.call('ZREM', alive, owner)
end

-- Publishes that a lease is free: the owner that released it, and the first waiter of the queue.
local function notify(queue, alive, owner, channel)
  sweep(queue, alive)
  redis.call('PUBLISH', channel, owner .. '>' .. (redis.call('ZRANGE', queue, 0, 0)[1] or ''))
end
