-- Replies the addresses of an identity, the oldest first, and forgets them.
-- KEYS[1]  the identity's set
-- Reply: the addresses
local found = redis.call('ZRANGE', KEYS[1], 0, -1)
redis.call('UNLINK', KEYS[1])
return found
