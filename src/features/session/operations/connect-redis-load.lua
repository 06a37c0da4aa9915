-- Reads a session in connect-redis's form.
-- KEYS[1]  the session
-- Reply: {value, time to live in ms}, or {} if the key is absent
local value = redis.call('GET', KEYS[1])
if not value then return {} end
return { value, redis.call('PTTL', KEYS[1]) }
