-- Publishes a message of a process to itself: if it arrives, messages of other processes arrive, too.
-- KEYS[1]  any key: it only routes the script
-- ARGV[1]  the channel of changed sessions
-- ARGV[2]  the message
-- Reply: 1
redis.call('PUBLISH', ARGV[1], ARGV[2])
return 1
