-- A page of a user's sessions that have not expired, those that end first in front.
-- KEYS[1]  the user's index
-- ARGV[1]  how many to pass over
-- ARGV[2]  how many to give
-- Reply: how many there are, member, expiry (ms), ...
local after = '(' .. string.format('%.0f', now)
local reply = redis.call('ZRANGEBYSCORE', KEYS[1], after, '+inf', 'WITHSCORES', 'LIMIT', ARGV[1], ARGV[2])
table.insert(reply, 1, redis.call('ZCOUNT', KEYS[1], after, '+inf'))
return reply
