-- Silences an alert, or ends its silence.
-- KEYS[1]  until when it is silenced, ms since the epoch
-- ARGV     ms of silence
-- Reply: until when
local ends = now + ARGV[1]
redis.call('SET', KEYS[1], whole(ends))
keep(KEYS[1], math.max(1, ARGV[1]))
return whole(ends)
