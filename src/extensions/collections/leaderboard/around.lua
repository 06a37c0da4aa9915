-- Reads an ID and its neighbours.
-- KEYS  see board.lua
-- ARGV[2]  ID
-- ARGV[3]  most neighbours above and below
-- Reply: { rank of the first, ID, score, ... }; {} if the ID has no place
local member = redis.call('HGET', KEYS[2], ARGV[2])
local rank = member and redis.call('ZREVRANK', KEYS[1], member)
if not rank then return {} end
local first = math.max(0, rank - tonumber(ARGV[3]))
return append({ first + 1 }, first, rank + ARGV[3])
