-- Adds to the popularity of a term.
-- KEYS[1]  sorted set: folded term -> popularity
-- KEYS[2]  sorted set: folded terms, all with the score 0, for searches by prefix
-- KEYS[3]  hash: folded term -> as it was written last
-- ARGV[1]  folded term
-- ARGV[2]  as it is written
-- ARGV[3]  weight
-- ARGV[4]  time to live, ms
-- ARGV[5]  most terms. The least popular others are removed.
-- Reply: the popularity
local popularity = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or '0') or 0
popularity = math.min(9007199254740991, popularity + tonumber(ARGV[3]))
redis.call('ZADD', KEYS[1], whole(popularity), ARGV[1])
redis.call('ZADD', KEYS[2], 0, ARGV[1])
redis.call('HSET', KEYS[3], ARGV[1], ARGV[2])
local excess = redis.call('ZCARD', KEYS[1]) - tonumber(ARGV[5])
if excess > 0 then
  for _, each in ipairs(redis.call('ZRANGE', KEYS[1], 0, excess)) do
    if each ~= ARGV[1] and excess > 0 then
      redis.call('ZREM', KEYS[1], each)
      redis.call('ZREM', KEYS[2], each)
      redis.call('HDEL', KEYS[3], each)
      excess = excess - 1
    end
  end
end
for _, key in ipairs(KEYS) do keep(key, tonumber(ARGV[4])) end
return whole(popularity)
