-- Renews the lease of a running request.
-- KEYS[1]  the record (see begin.lua)
-- ARGV[1]  fingerprint and owner
-- ARGV[2]  lease from now on, ms
-- ARGV[3]  lifetime of the record, ms
-- Reply: 1; 0: the owner does not hold the key
local r = redis.call('HMGET', KEYS[1], 'f', 'l')
if r[1] ~= 'p' .. ARGV[1] then return 0 end
local ends, _, token, attempts = times(r[2])
if ends <= now then return 0 end
redis.call('HSET', KEYS[1], 'l', times_field(now + tonumber(ARGV[3]), now + tonumber(ARGV[2]), token, attempts))
keep(KEYS[1], tonumber(ARGV[3]))
return 1
