-- Counts the places that are taken.
-- KEYS[1]  the places
-- Reply: how many
return redis.call('ZCOUNT', KEYS[1], '(' .. string.format('%.0f', now), '+inf')
