-- Stores what a lookup has found, unless the key was revoked or invalidated meanwhile.
-- KEYS[1]  what is known, see entry.lua
-- ARGV[1]  token of the caller
-- ARGV[2]  'r' and the record, or 'n'; '': nothing, the lookup failed
-- ARGV[3]  time to live, ms
-- Reply: 'o' stored; else what is known, as find.lua has it
local kind, content = read(KEYS[1])
if kind ~= 'l' or content ~= ARGV[1] then return kind == 'r' and kind .. content or kind end
if ARGV[2] == '' then
  redis.call('UNLINK', KEYS[1])
else
  write(KEYS[1], string.sub(ARGV[2], 1, 1), string.sub(ARGV[2], 2), tonumber(ARGV[3]))
end
return 'o'
