-- Removes an announcement, and publishes that.
-- ARGV[1]  ID
-- ARGV[2] to ARGV[5]  most messages of the history, its time to live, channel, first sequence number
-- Reply: 1; 0: there is none
trim()
if not redis.call('ZSCORE', KEYS[2], ARGV[1]) then return 0 end
remove(ARGV[1])
append(KEYS[4], '{"type":"withdraw","id":"' .. ARGV[1] .. '"}', ARGV[2], ARGV[3], ARGV[4], ARGV[5])
return 1
