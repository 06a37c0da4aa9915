-- Counts a hit that decays exponentially. Scores are kept as logarithms of hits weighted forward in time, so that none is ever
-- rewritten (forward decay: Cormode et al., 2009): score = log2(sum of weight * 2^(time / half-life)).
-- KEYS[1]  sorted set: ID -> score
-- ARGV[1]  ID
-- ARGV[2]  weight
-- ARGV[3]  half-life, ms
-- ARGV[4]  time to live, ms
-- ARGV[5]  most IDs. The lowest ones are removed.
-- Reply: 1
local LOG2 = math.log(2)
local score = now / tonumber(ARGV[3]) + math.log(tonumber(ARGV[2])) / LOG2
local known = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or '')
if known then score = math.max(known, score) + math.log(1 + 2 ^ -math.abs(known - score)) / LOG2 end
redis.call('ZADD', KEYS[1], string.format('%.17g', score), ARGV[1])
local excess = redis.call('ZCARD', KEYS[1]) - tonumber(ARGV[5])
if excess > 0 then redis.call('ZREMRANGEBYRANK', KEYS[1], 0, excess - 1) end
keep(KEYS[1], tonumber(ARGV[4]))
return 1
