-- Removes an ID.
-- KEYS  see board.lua
-- ARGV[1]  ID
-- Reply: 1 if it had a place, else 0
local member = redis.call('HGET', KEYS[2], ARGV[1])
if not member then return 0 end
redis.call('HDEL', KEYS[2], ARGV[1])
return redis.call('ZREM', KEYS[1], member)
