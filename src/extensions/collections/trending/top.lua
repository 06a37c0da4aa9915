-- Reads the highest.
-- KEYS[1]  see hit.lua
-- ARGV[1]  how many
-- ARGV[2]  half-life, ms
-- Reply: { ID, log2 of its decayed hits, times 2^20, ... }
local found = redis.call('ZREVRANGE', KEYS[1], 0, ARGV[1] - 1, 'WITHSCORES')
for i = 2, #found, 2 do
  found[i] = whole(math.floor((tonumber(found[i]) - now / tonumber(ARGV[2])) * 1048576 + 0.5) + 0)
end
return found
