-- Puts an item first. An item that is there already is moved.
-- KEYS[1]  list, the latest first
-- ARGV[1]  item
-- ARGV[2]  most items. The oldest ones are removed.
-- ARGV[3]  time to live, ms
-- Reply: number of items
redis.call('LREM', KEYS[1], 0, ARGV[1])
redis.call('LPUSH', KEYS[1], ARGV[1])
redis.call('LTRIM', KEYS[1], 0, ARGV[2] - 1)
keep(KEYS[1], tonumber(ARGV[3]))
return redis.call('LLEN', KEYS[1])
