-- Notes that users are seen, and publishes who has joined and who has left.
-- ARGV[1]  time after which a user who is not seen has left, ms
-- ARGV[2]  most users. Those that were seen longest ago make room.
-- ARGV[3] to ARGV[6]  most messages of the history, its time to live, channel, first sequence number
-- ARGV[7] and more  users, JSON, at most 50
-- Reply: number of users who have joined
local ttl, max, joined = tonumber(ARGV[1]), tonumber(ARGV[2]), {}
sweep(ttl, 3)
for i = 7, #ARGV - 1 do
  if redis.call('ZADD', KEYS[1], whole(now), ARGV[i]) == 1 then
    redis.call('ZADD', KEYS[2], 0, ARGV[i])
    joined[#joined + 1] = ARGV[i]
  end
end
announce('joined', joined, 3)
local excess = math.min(redis.call('ZCARD', KEYS[1]) - max, SWEPT)
if excess > 0 then leave(redis.call('ZRANGE', KEYS[1], 0, excess - 1), 3) end
-- Longer than `ttl`. Otherwise nothing would tell that the last users have left.
keep(KEYS[1], 3 * ttl)
keep(KEYS[2], 3 * ttl)
return #joined
