-- Ends one family.
-- KEYS[1]  the user's families, see family.lua
-- ARGV[1]  handle of the family
-- Reply: 1 if it was alive, else 0
local family = find(KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[1], ARGV[1])
return family and family.isAlive and 1 or 0
