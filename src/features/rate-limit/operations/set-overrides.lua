-- Replaces the overrides of a subject.
-- KEYS[1]  the hash: policy name -> limit
-- ARGV     time to live (ms), the time to live that each use renews ('0': none), then name, limit, and so on.
--          No pair: the subject has no overrides any more.
-- Reply: how many were set
local key = KEYS[1]
local count = 0
redis.call('DEL', key)
for i = 3, #ARGV - 2, 2 do
  redis.call('HSET', key, ARGV[i], ARGV[i + 1])
  count = count + 1
end
if count > 0 then
  if ARGV[2] ~= '0' then redis.call('HSET', key, '~', ARGV[2]) end
  redis.call('PEXPIRE', key, ARGV[1])
end
return count
