-- Stores the answer of a request, unless another attempt has taken it over. A record that Redis has lost is made anew.
-- KEYS[1]  the record (see begin.lua)
-- ARGV[1]  owner
-- ARGV[2]  fingerprint
-- ARGV[3]  fencing token
-- ARGV[4]  attempt
-- ARGV[5]  how long the answer is kept, ms
-- ARGV[6]  'c': with its body; 'm': without
-- ARGV[7]  status
-- ARGV[8]  headers
-- ARGV[9]  body
-- ARGV[10] channel of those who wait for the answer
-- Reply: 1; 0: refused
local r = redis.call('HMGET', KEYS[1], 's', 'o', 'e')
if r[1] and tonumber(r[3]) > now and r[2] ~= ARGV[1] then return 0 end
redis.call('UNLINK', KEYS[1])
redis.call('HSET', KEYS[1], 's', ARGV[6], 'f', ARGV[2], 'o', ARGV[1], 'l', '0', 't', ARGV[3], 'n', ARGV[4],
  'e', whole(now + tonumber(ARGV[5])), 'c', ARGV[7], 'h', ARGV[8], 'b', ARGV[9])
keep(KEYS[1], tonumber(ARGV[5]))
redis.call('PUBLISH', ARGV[10], '*')
return 1
