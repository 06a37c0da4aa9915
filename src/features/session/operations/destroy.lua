-- Ends a session: at once, or after a grace period in which it cannot be prolonged.
-- KEYS[1]  the session
-- KEYS[2]  its user's index
-- ARGV[1]  the session's digest
-- ARGV[2]  grace period, ms; 0: at once
-- Reply: 1 if the session existed, 0 if not
redis.call('ZREM', KEYS[2], ARGV[1])
local grace = tonumber(ARGV[2])
if grace <= 0 then return redis.call('UNLINK', KEYS[1]) end
local header = redis.call('GETRANGE', KEYS[1], 0, 46)
if not string.match(header, '^[JE][u-]' .. string.rep('%d', 45) .. '$') then return 0 end
local ends_at = tonumber(string.sub(header, 22, 34))
if ends_at == 0 or ends_at > now + grace then redis.call('SETRANGE', KEYS[1], 21, string.format('%013.0f', now + grace)) end
if redis.call('PTTL', KEYS[1]) > grace then redis.call('PEXPIRE', KEYS[1], string.format('%.0f', grace)) end
return 1
