-- Reads users who are online, in the order of their names.
-- ARGV[1]  time after which a user who is not seen has left, ms
-- ARGV[2] to ARGV[5]  most messages of the history, its time to live, channel, first sequence number
-- ARGV[6]  user after whom the page begins, JSON; '': the first
-- ARGV[7]  most users
-- Reply: { 1 if others may have left: call again, number of users who are online, user, ... }
local hasMore = sweep(tonumber(ARGV[1]), 2) == SWEPT and 1 or 0
local from = ARGV[6] == '' and '-' or '(' .. ARGV[6]
return { hasMore, redis.call('ZCARD', KEYS[1]),
  unpack(redis.call('ZRANGEBYLEX', KEYS[2], from, '+', 'LIMIT', 0, ARGV[7])) }
