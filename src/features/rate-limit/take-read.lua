-- Reads the states of take.lua, all at once where there are several, and how long own limits live.
local ownLives
if KEYS[n + 1] then
  ownLives = {}
  for j = n + 1, #KEYS do ownLives[j - n] = call('PTTL', KEYS[j]) end
end
-- GET fails where MGET has nothing to say of a value of another type.
local values
if n > 1 then values = call('MGET', unpack(KEYS, 1, n)) else values = { call('GET', KEYS[1]) } end

