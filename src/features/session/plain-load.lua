-- Reads a value that connect-redis wrote, or could have.
-- KEYS[1]  the session
-- Reply: {the value, the time that it has to live, ms}, or {} if there is none
local value = redis.call('GET', KEYS[1])
if not value then return {} end
return { value, redis.call('PTTL', KEYS[1]) }
