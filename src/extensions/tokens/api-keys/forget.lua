-- Revokes a key, or forgets what is known of it, and tells all processes.
-- KEYS[1]  what is known, see entry.lua
-- ARGV[1]  how long it stays revoked, ms; 0: forget
-- ARGV[2]  channel, and [3] message
-- Reply: 1 if it was known, else 0
local kind = read(KEYS[1])
local ms = tonumber(ARGV[1])
if ms > 0 then write(KEYS[1], 'x', '', ms) else redis.call('UNLINK', KEYS[1]) end
redis.call('PUBLISH', ARGV[2], ARGV[3])
return kind == 'r' and 1 or 0
