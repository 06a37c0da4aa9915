-- Counts a ban of a client, so that the next one is longer.
-- KEYS[1]  number of its bans
-- ARGV[1]  how long it is remembered, ms
-- Reply: number of bans
local count = redis.call('INCR', KEYS[1])
keep(KEYS[1], ARGV[1])
return count
