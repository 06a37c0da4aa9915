-- Publishes the sequence of an invalidation log. A process that receives it knows that it misses nothing.
-- KEYS[1]  the invalidation log
-- ARGV[1]  the channel; [2] the ID of the announcement
-- Reply: 1
local head = redis.call('HMGET', KEYS[1], '!', '#')
redis.call('PUBLISH', ARGV[1], cjson.encode({ '', ARGV[2], head[1] or '', head[2] or '0' }))
return 1
