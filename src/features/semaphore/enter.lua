-- Takes a place, or keeps the one that the owner has.
-- KEYS[1]  the places: owners by the end of their leases, ms since the epoch
-- KEYS[2]  the line: who came when
-- KEYS[3]  the line: until when each counts as there
-- ARGV[1]  owner
-- ARGV[2]  how many places there are
-- ARGV[3]  lease, ms
-- ARGV[4]  patience: for how long a place in the line lasts, ms; 0: take none, and heed none
-- Reply: { 1, places taken }, or { 0, ms until one may be free }
local owner, limit, lease, patience = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', whole(now))
local taken = redis.call('ZCARD', KEYS[1])
if not redis.call('ZSCORE', KEYS[1], owner) then
  local before = patience > 0 and line_up(KEYS[2], KEYS[3], owner, patience) or 0
  if taken + before >= limit then
    local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
    return { 0, first[2] and tonumber(first[2]) - now or patience > 0 and patience or lease }
  end
  taken = taken + 1
  if patience > 0 then step_out(KEYS[2], KEYS[3], owner) end
end
redis.call('ZADD', KEYS[1], whole(now + lease), owner)
if redis.call('PTTL', KEYS[1]) < lease then keep(KEYS[1], lease) end
return { 1, taken }
