-- Publishes a message that is not stored.
-- KEYS[1]  a key of the topic, for the route
-- ARGV[1]  message, JSON
-- ARGV[2]  channel
-- Reply: 1
redis.call('PUBLISH', ARGV[2], '  ' .. ARGV[1])
return 1
