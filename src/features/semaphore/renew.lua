-- Renews a permit that its owner still holds.
-- KEYS[1]  the permits
-- KEYS[2]  times of the acquisitions
-- ARGV[1]  owner
-- ARGV[2]  lease from now on, ms
-- Reply: 1; 0: the owner does not hold one
local ends = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not ends or tonumber(ends) <= now then return 0 end
keep_permit(KEYS[1], KEYS[2], ARGV[1], tonumber(ARGV[2]))
return 1
