-- Returns the version of the rules, '' if there never was one.
-- KEYS[1]  rules by ID, with their version in the field '!'
-- ARGV[1]  time to live of the rules, ms. It begins again when half of it is over
local version = redis.call('HGET', KEYS[1], '!') or ''
if version ~= '' and redis.call('PTTL', KEYS[1]) < ARGV[1] / 2 then keep(KEYS[1], ARGV[1]) end
return version
