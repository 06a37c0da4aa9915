-- Writes the metrics of a process and its machine.
-- KEYS[1]  hash: the metrics
-- ARGV     ms to keep them, then fields and values
-- Reply: Redis's time in ms
redis.call('HSET', KEYS[1], 'at', whole(now), unpack(ARGV, 2, #ARGV - 1))
keep(KEYS[1], ARGV[1])
return now
