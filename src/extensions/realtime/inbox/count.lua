-- Counts unread messages, and reads the position in the topic at which the count is so.
-- ARGV[1]  time to live of a message, ms
-- Reply: { number of unread messages, ID of the latest message of the topic or '', position before any
--          message from now on }
trim(tonumber(ARGV[1]))
return { redis.call('ZCARD', KEYS[3]), latest(KEYS[5]) }
