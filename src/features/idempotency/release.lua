-- Releases the key of a request that failed. Results of its steps are kept for the next attempt.
-- KEYS[1]  the record (see begin.lua)
-- ARGV[1]  fingerprint and owner
-- ARGV[2]  left out, or '1': keep the record, because an earlier attempt was interrupted
-- Reply: 1; 0: the owner does not hold the key
local r = redis.call('HMGET', KEYS[1], 'f', 'l', 'w', 'k')
if r[1] ~= 'p' .. ARGV[1] then return 0 end
local ends, _, token, attempts = times(r[2])
if ends <= now then return 0 end
if r[4] or #ARGV > 2 then
  redis.call('HSET', KEYS[1], 'f', 'r' .. ARGV[1], 'l', times_field(ends, 0, token, attempts))
else
  redis.call('UNLINK', KEYS[1])
end
if r[3] then redis.call('PUBLISH', r[3], '*') end
return 1
