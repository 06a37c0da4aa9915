-- Appends a message to the history of a topic and publishes it.
-- KEYS[1]  stream: the history
-- ARGV[1]  message, JSON
-- ARGV[2]  most messages of the history
-- ARGV[3]  time to live of the history after its last message, ms
-- ARGV[4]  channel
-- ARGV[5]  sequence number of the first message of a millisecond
-- Reply: ID of the message
return append(KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5])
