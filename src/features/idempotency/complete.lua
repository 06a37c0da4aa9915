-- Stores the response to a request, unless another attempt has taken over. If Redis has lost the record, creates it.
-- KEYS[1]  the record (see begin.lua)
-- ARGV[1]  fingerprint and owner
-- ARGV[2]  the response
-- KEPT belongs to the mount: lifetime of the response, in ms
-- Reply: 1; 0: another attempt has taken over
local r = redis.call('HMGET', KEYS[1], 'f', 'l', 'w', 'k')
local live = r[1] and times(r[2]) > now
if live and string.sub(r[1], 2) ~= ARGV[1] then return 0 end
if r[3] or r[4] then redis.call('UNLINK', KEYS[1]) end
redis.call('HSET', KEYS[1], 'f', 'c' .. ARGV[1], 'l', whole(now + KEPT), 'a', ARGV[2])
keep(KEYS[1], KEPT)
if live and r[3] then redis.call('PUBLISH', r[3], '*') end
return 1
