-- Says aloud where the sequence stands: who hears it knows that it hears everything.
-- KEYS[1]  the record of invalidations
-- ARGV[1]  the channel; [2] names the beat
-- Reply: 1
local head = redis.call('HMGET', KEYS[1], '!', '#')
redis.call('PUBLISH', ARGV[1], cjson.encode({ '', ARGV[2], head[1] or '', head[2] or '0' }))
return 1
