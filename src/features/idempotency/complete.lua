-- Stores the answer of a request, unless another attempt has taken it over. A record that Redis has lost is made anew.
-- KEYS[1]  the record (see begin.lua)
-- ARGV[1]  owner
-- ARGV[2]  fingerprint
-- ARGV[3]  how long the answer is kept, ms
-- ARGV[4]  'c': with its body; 'm': without
-- ARGV[5]  head of the answer
-- ARGV[6]  body
-- Reply: 1; 0: refused
local r = redis.call('HMGET', KEYS[1], 's', 'o', 'e', 'w')
local live = r[1] and tonumber(r[3]) > now
if live and r[2] ~= ARGV[1] then return 0 end
if r[1] then redis.call('UNLINK', KEYS[1]) end
redis.call('HSET', KEYS[1], 's', ARGV[4], 'f', ARGV[2], 'o', ARGV[1],
  'e', whole(now + tonumber(ARGV[3])), 'a', ARGV[5], 'b', ARGV[6])
keep(KEYS[1], tonumber(ARGV[3]))
if live and r[4] then redis.call('PUBLISH', r[4], '*') end
return 1
