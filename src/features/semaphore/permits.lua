-- Stands before the scripts that write permits. Sets the end of a permit's lease.
local function keep_permit(permits, since, owner, lease)
  redis.call('ZADD', permits, whole(now + lease), owner)
  if redis.call('PTTL', permits) < lease then keep(permits, lease) end
  if redis.call('PTTL', since) < lease then keep(since, lease) end
end
