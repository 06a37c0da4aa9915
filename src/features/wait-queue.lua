-- Stands in front of the scripts of locks and semaphores: a line of waiters in order of arrival, over
-- two sorted sets. `places` has who came when, `signs` until when each counts as still there.
-- Those who gave no sign of life leave the line.
local function sweep(places, signs)
  for _, gone in ipairs(redis.call('ZRANGEBYSCORE', signs, '-inf', whole(now))) do
    redis.call('ZREM', places, gone)
    redis.call('ZREM', signs, gone)
  end
end

-- Takes a place for `owner`, or keeps it. Gives how many stand before it.
local function line_up(places, signs, owner, patience)
  sweep(places, signs)
  if not redis.call('ZSCORE', places, owner) then
    local last = redis.call('ZRANGE', places, -1, -1, 'WITHSCORES')
    redis.call('ZADD', places, whole(math.max(micros, (tonumber(last[2]) or 0) + 1)), owner)
  end
  redis.call('ZADD', signs, whole(now + patience), owner)
  keep(places, patience + 60000)
  keep(signs, patience + 60000)
  return redis.call('ZRANK', places, owner)
end

local function step_out(places, signs, owner)
  redis.call('ZREM', places, owner)
  redis.call('ZREM', signs, owner)
end

-- Says that something is free: who made it so, and whose turn it is, if there is a line.
local function call_next(places, signs, owner, channel)
  sweep(places, signs)
  redis.call('PUBLISH', channel, owner .. '>' .. (redis.call('ZRANGE', places, 0, 0)[1] or ''))
end
