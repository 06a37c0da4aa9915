-- Notes a change that a person has made, the newest first.
-- KEYS[1]  the list
-- ARGV     entry without its time, largest number of entries, ms to keep the list
-- Reply: number of entries
redis.call('LPUSH', KEYS[1], whole(now) .. ' ' .. ARGV[1])
redis.call('LTRIM', KEYS[1], 0, ARGV[2] - 1)
keep(KEYS[1], ARGV[3])
return redis.call('LLEN', KEYS[1])
