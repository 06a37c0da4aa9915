-- Takes a lock. Whoever has it already gets it again, under the same token.
-- KEYS[1]  the lock: a hash of owner, token, until (ms since the epoch)
-- KEYS[2]  the last fencing token
-- KEYS[3]  the line: who came when
-- KEYS[4]  the line: until when each counts as there
-- ARGV[1]  owner
-- ARGV[2]  lease, ms
-- ARGV[3]  patience: for how long a place in the line lasts, ms; 0: take none, and heed none
-- Reply: { 1, token }, or { 0, ms until it may be free }
local owner, lease, patience = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local lock = redis.call('HMGET', KEYS[1], 'owner', 'until', 'token')
local left = (tonumber(lock[2]) or 0) - now
if left > 0 and lock[1] == owner then
  redis.call('HSET', KEYS[1], 'until', whole(now + lease))
  keep(KEYS[1], lease)
  return { 1, tonumber(lock[3]) }
end
if patience > 0 then
  local before = line_up(KEYS[3], KEYS[4], owner, patience)
  if left <= 0 and before > 0 then
    local first = redis.call('ZRANGE', KEYS[3], 0, 0)[1]
    return { 0, math.max(1, tonumber(redis.call('ZSCORE', KEYS[4], first)) - now) }
  end
end
if left > 0 then return { 0, left } end
-- Microseconds, so that tokens grow even if the last one was lost; at least one more, so that they do if the clock is set back.
local token = math.max((tonumber(redis.call('GET', KEYS[2])) or 0) + 1, micros)
redis.call('SET', KEYS[2], whole(token), 'PX', 604800000)
redis.call('HSET', KEYS[1], 'owner', owner, 'token', whole(token), 'until', whole(now + lease))
keep(KEYS[1], lease)
if patience > 0 then step_out(KEYS[3], KEYS[4], owner) end
return { 1, token }
