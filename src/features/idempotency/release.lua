-- Gives a key back whose request has failed. What its steps came to is kept for the next attempt.
-- KEYS[1]  the record (see begin.lua)
-- ARGV[1]  owner
-- Reply: 1; 0: somebody else has it, or nobody
local r = redis.call('HMGET', KEYS[1], 's', 'o', 'e', 'w')
if r[1] ~= 'p' or r[2] ~= ARGV[1] or tonumber(r[3]) <= now then return 0 end
local steps = false
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  if string.sub(field, 1, 1) == '=' then steps = true end
end
if steps then redis.call('HSET', KEYS[1], 's', 'r', 'l', '0') else redis.call('UNLINK', KEYS[1]) end
if r[4] then redis.call('PUBLISH', r[4], '*') end
return 1
