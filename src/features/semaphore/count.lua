-- Counts the permits that are held.
-- KEYS[1]  the permits
-- Reply: their number
return redis.call('ZCOUNT', KEYS[1], '(' .. string.format('%.0f', now), '+inf')
