-- Lengthens the lease of a running request.
-- KEYS[1]  the record (see begin.lua)
-- ARGV[1]  owner
-- ARGV[2]  lease from now on, ms
-- ARGV[3]  how long the record is kept, ms
-- Reply: 1; 0: somebody else has it, or nobody
local r = redis.call('HMGET', KEYS[1], 's', 'o', 'e')
if r[1] ~= 'p' or r[2] ~= ARGV[1] or tonumber(r[3]) <= now then return 0 end
redis.call('HSET', KEYS[1], 'l', whole(now + tonumber(ARGV[2])), 'e', whole(now + tonumber(ARGV[3])))
keep(KEYS[1], tonumber(ARGV[3]))
return 1
