-- Reads the states, all at once where there are several, and how long the overrides still live.
local overrideLives
if KEYS[n + 1] then
  overrideLives = {}
  for j = n + 1, #KEYS do overrideLives[j - n] = call('PTTL', KEYS[j]) end
end
local values
if n > 1 then values = call('MGET', unpack(KEYS, 1, n)) else values = { call('GET', KEYS[1]) } end
