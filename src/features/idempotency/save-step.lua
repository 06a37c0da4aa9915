-- Saves the result of a step of a running request.
-- KEYS[1]  the record (see begin.lua)
-- ARGV[1]  fingerprint and owner
-- ARGV[2]  name of the step
-- ARGV[3]  its result
-- Reply: 1; 0: another attempt has taken over; -1: Redis has lost the record
local r = redis.call('HMGET', KEYS[1], 'f', 'l')
if not r[1] or times(r[2]) <= now then return -1 end
if r[1] ~= 'p' .. ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'k', '1', '=' .. ARGV[2], ARGV[3])
return 1
