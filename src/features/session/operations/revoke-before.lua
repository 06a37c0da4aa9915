-- Revokes all sessions of a user that were created by now, except one. Deletes none: see sweep.lua.
-- KEYS[1]  revoke-before
-- KEYS[2]  the user's index
-- ARGV[1]  digest of the session that stays valid, '': none
-- ARGV[2]  minimum time to live of revoke-before, ms
-- ARGV[3]  channel of changed sessions
-- Reply: the moment, ms
local at = tonumber(string.match(redis.call('GET', KEYS[1]) or '', '^%d+') or '0')
at = math.max(now, at)
local life = math.max(tonumber(ARGV[2]), redis.call('PTTL', KEYS[2]))
local value = string.format('%.0f', at)
if ARGV[1] ~= '' then value = value .. ' ' .. ARGV[1] end
redis.call('SET', KEYS[1], value, 'PX', string.format('%.0f', life))
-- The sessions are revoked, whether this may be published or not.
redis.pcall('PUBLISH', ARGV[3], string.match(KEYS[2], '{[^{}]*}[^{}]*$'))
return at
