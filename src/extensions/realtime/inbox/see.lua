-- Marks announcements as read by a user.
-- KEYS[1]  sorted set: IDs of the announcements that the user has read, by the time until which they
--          are shown, ms
-- ARGV[1]  most IDs
-- ARGV[2] and more  ID, time, ID, ...
-- Reply: 1
for i = 2, #ARGV - 1, 2 do redis.call('ZADD', KEYS[1], ARGV[i + 1], ARGV[i]) end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', whole(now))
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -ARGV[1] - 1)
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2]
if last then keep(KEYS[1], tonumber(last) - now) end
return 1
