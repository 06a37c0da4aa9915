-- Tells what is known of a key. Where nothing is, the caller may look it up.
-- KEYS[1]  what is known, see entry.lua
-- ARGV[1]  token of the caller; '': it will not look it up
-- ARGV[2]  how long it may take, ms
-- Reply: 'r' and the record; 'n', 'x', 'l' as in entry.lua; 'o': the caller is to look it up; '': nothing is known
local kind, content = read(KEYS[1])
if kind == 'r' then return kind .. content end
if kind ~= '' or ARGV[1] == '' then return kind end
write(KEYS[1], 'l', ARGV[1], tonumber(ARGV[2]))
return 'o'
