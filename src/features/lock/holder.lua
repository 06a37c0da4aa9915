-- Returns the holder of a lock.
-- KEYS[1]  the lock
-- Reply: { owner, token, since, until } (times in ms since the epoch); {} if the lock is free
local lock = redis.call('HMGET', KEYS[1], 'owner', 'token', 'since', 'until')
if not lock[1] or lock[1] == '' or (tonumber(lock[4]) or 0) <= now then return {} end
return { lock[1], tonumber(lock[2]) or 0, tonumber(lock[3]) or 0, tonumber(lock[4]) }
